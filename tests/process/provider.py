"""`python -m tests.process.provider JOURNAL`: the provider simulator with questions that take long.

A prompt with `[slow:2.5]` is answered after 2.5 seconds, the first time it is asked; one with
`[until:FILE]` once the file is there. Reports are answered as the offline writer does. The first line
of output says where it serves, and what its own clock showed at its zero.
"""

import argparse
import asyncio
import re
import signal
import sys
from pathlib import Path

from holdfast.apps.reports import write_report_sample
from holdfast.llm.providers.base import ProviderRequest
from holdfast.testing.provider import ProviderBehaviour, ProviderSimulator
from holdfast.testing.signals import eventually

_SLOW = re.compile(r"\[slow:([0-9.]+)\]")
_UNTIL = re.compile(r"\[until:([^\]]+)\]")


class Writer:
    """Takes its time where it is asked to."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    async def __call__(self, request: ProviderRequest) -> str:
        prompt = request.messages[-1]["content"]
        slow = _SLOW.search(prompt)
        if slow and prompt not in self._asked:
            self._asked.add(prompt)
            await asyncio.sleep(float(slow[1]))
        if until := _UNTIL.search(prompt):
            await eventually(Path(until[1]).exists, seconds=600)
        return await write_report_sample(request)


async def serve(journal: Path, first_token_seconds: float) -> None:
    simulator = ProviderSimulator(
        ProviderBehaviour(first_token_seconds=first_token_seconds),
        writer=Writer(),
        journal_path=journal,
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with simulator:
        sys.stdout.write(f"{simulator.base_url} {simulator._started_at}\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("--first-token-seconds", type=float, default=0.0)
    asked = parser.parse_args()
    asyncio.run(serve(asked.journal, asked.first_token_seconds))
