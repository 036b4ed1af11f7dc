"""The simulated provider as a process of its own, with all answers written beforehand.

It answers the prompts of a report, or everything with text of one length.

Writing an answer takes processor time that a real provider would not take from this machine.
"""

import asyncio
import sys
from collections.abc import Callable

from bench.sides.program import main, run_async
from bench.sides.report import facts_of, manifest_of, request
from holdfast.apps.reports.sample import write_report_sample
from holdfast.apps.reports.writing import batch_prompt, system_prompt
from holdfast.llm.providers.base import ProviderRequest
from holdfast.testing.provider import ProviderBehaviour, ProviderSimulator

Writer = Callable[[ProviderRequest], str]


def answers(days: int) -> dict[str, str]:
    """Return the answer to each prompt of the report."""
    report = request(days=days, concurrency=None)
    facts = facts_of(report)
    system = system_prompt(facts)
    found = {}
    for batch in manifest_of(report):
        prompt = batch_prompt(batch, facts)
        asked = ProviderRequest(
            call_id="bench",
            model="bench",
            messages=({"role": "system", "content": system}, {"role": "user", "content": prompt}),
            max_output_tokens=16_000,
        )
        found[prompt] = write_report_sample(asked)
    return found


async def serve(answer: Writer, behaviour: ProviderBehaviour) -> None:
    async with ProviderSimulator(behaviour, writer=answer) as simulator:
        sys.stdout.write(f"{simulator.base_url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def report_writer(days: int) -> Writer:
    written = answers(days)

    def answer(asked: ProviderRequest) -> str:
        # Other products are short enough to be written as they are asked for.
        return written.get(asked.messages[-1]["content"]) or write_report_sample(asked)

    return answer


def plain_writer(tokens: int) -> Writer:
    text = "word".ljust(4 * tokens, ".")
    return lambda _: text


def measure(
    *,
    days: int | None = None,
    answer_tokens: int = 0,
    rpm: float,
    tpm: float,
    tokens_per_second: float,
    first_token_seconds: float,
    time_scale: float,
) -> None:
    behaviour = ProviderBehaviour(
        rpm=rpm,
        tpm=tpm,
        tokens_per_second=tokens_per_second,
        first_token_seconds=first_token_seconds,
        time_scale=time_scale,
    )
    writer = plain_writer(answer_tokens) if days is None else report_writer(days)
    run_async(serve(writer, behaviour))


if __name__ == "__main__":
    main(measure)
