"""Life Clarity: four views of one life, written by four agents at the same time.

They are agents of the OpenAI Agents SDK. What they ask the model goes the way of all calls: each
is a step of the job, within the lane's limits and the job's budget, and in the ledger.
"""

from __future__ import annotations

import asyncio
import importlib
import tomllib
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports import front
from holdfast.apps.reports.astro import Precomputed
from holdfast.apps.reports.manifest import Batch, Period
from holdfast.apps.reports.models import BatchAnswers, ReportRequest, WritingOptions
from holdfast.apps.reports.product import PrintedProduct
from holdfast.apps.reports.questions import PROMPTS, Question
from holdfast.apps.reports.render import document as page
from holdfast.apps.reports.wording import month_year
from holdfast.apps.reports.writing import (
    WRITING_RETRY,
    Written,
    batch_prompt,
    check_batch,
    pieces_of,
    system_prompt,
)
from holdfast.engine.context import JobContext
from holdfast.errors import ConfigError, StepFailedError, TruncatedResponseError
from holdfast.llm.client import LLM

if TYPE_CHECKING:
    from agents import Agent as SdkAgent

WORDS: Final = (220, 340)
"""Word range of one section."""

_CLOSING: Final = (
    "A chart is a description, not a verdict.\n"
    "Read these pages again in half a year; what you then find obvious was once worth saying."
)


class Agent(BaseModel):
    """One of the four views: what a call is asked to write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    eyebrow: str
    intro: str
    bodies: tuple[str, ...]
    """What the view looks at first."""
    questions: tuple[str, ...]
    """Titles of its sections."""


@cache
def agents() -> tuple[Agent, ...]:
    """Return the four views in the order in which they are printed."""
    found = tomllib.loads((PROMPTS / "clarity.toml").read_text(encoding="utf-8"))
    return tuple(Agent.model_validate(entry) for entry in found["agent"])


def clarity_manifest(request: ReportRequest) -> tuple[Batch, ...]:
    """Return four batches, one for each view."""
    return tuple(
        Batch(id=agent.name, label=f"Writing: {agent.title}", periods=(_period(agent, request),))
        for agent in agents()
    )


async def write_with_agents(
    job: JobContext, manifest: Sequence[Batch], facts: Precomputed, options: WritingOptions
) -> Written:
    """Have every view written by an agent of its own, all at the same time unless told otherwise.

    Raises:
        StepFailedError: An agent's call failed for good; the others have ended and are stored.
        ConfigError: The extra `holdfast[agents]` is not installed.
    """
    # The SDK takes seconds to import, which the event loop must not stand still.
    await asyncio.to_thread(_import_agents)
    newsroom = _Newsroom(job, facts, options, total=sum(batch.weight for batch in manifest))
    outcomes = await asyncio.gather(*map(newsroom.write, manifest), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
    return newsroom.written


class _Newsroom:
    """The agents at work on one report."""

    def __init__(
        self, job: JobContext, facts: Precomputed, options: WritingOptions, *, total: float
    ) -> None:
        self.written = Written()
        self._job = job
        self._facts = facts
        self._options = options
        self._system = system_prompt(facts)
        self._desks = asyncio.Semaphore(1 if options.strict_order else options.concurrency)
        self._done, self._total = 0.0, total
        """In words."""

    async def write(self, batch: Batch) -> None:
        """Have one view written, and tell of it."""
        async with self._desks:
            await self._write(batch)
        self._done += batch.weight
        self._job.report_progress(self._done, self._total, batch.label)

    async def _write(self, batch: Batch) -> None:
        from holdfast.llm.agents import AgentRun, run_agent

        run = AgentRun(
            steps=self._job,
            llm=self._job.resource(LLM),
            key=f"write/{batch.id}",
            retry=WRITING_RETRY,
            check=lambda found: check_batch(batch, found),
            urgency=self._options.urgency,
        )
        try:
            found = await run_agent(run, self._agent(batch), batch_prompt(batch, self._facts))
        except StepFailedError as error:
            if not isinstance(error.__cause__, TruncatedResponseError):
                raise
        else:
            self.written.add(check_batch(batch, found))
            return
        for piece in pieces_of(batch):
            await self._write(piece)

    def _agent(self, batch: Batch) -> SdkAgent[Any]:
        from agents import Agent as SdkAgent
        from agents import ModelSettings

        return SdkAgent(
            name=batch.periods[0].id,
            instructions=self._system,
            output_type=BatchAnswers,
            model=self._options.model,
            model_settings=ModelSettings(
                max_tokens=batch.output_tokens(self._options.output_tokens_max)
            ),
        )


def _import_agents() -> None:
    try:
        importlib.import_module("holdfast.llm.agents")
    except ImportError as error:
        raise ConfigError(
            f"the OpenAI Agents SDK cannot be imported: {error}", hint="install 'holdfast[agents]'"
        ) from error


def compose_clarity(
    request: ReportRequest, facts: Precomputed, manifest: Sequence[Batch], written: Written
) -> page.ReportDocument:
    """Join the four views to one report."""
    periods = [period for batch in manifest for period in batch.periods]
    return page.ReportDocument(
        title=CLARITY.title,
        subtitle="Four views of one life",
        person=request.birth.name,
        edition=month_year(request.start),
        sample_notice=front.SAMPLE_NOTICE if written.sample else None,
        author=front.AUTHOR,
        issued=request.start,
        imprint=front.imprint(facts),
        natal=front.natal_page(facts),
        numerology=front.numerology_page(facts),
        parts=tuple(
            _part(agent, period, written) for agent, period in zip(agents(), periods, strict=True)
        ),
        closing=page.Closing(title="Go gently", text=_CLOSING),
    )


def _period(agent: Agent, request: ReportRequest) -> Period:
    return Period(
        id=agent.name,
        kind="section",
        first_day=request.start,
        last_day=request.start,
        words=WORDS,
        title=agent.title,
        focus=agent.bodies,
        questions=tuple(
            Question(number=number, topic=agent.name, group=agent.title, text=text)
            for number, text in enumerate(agent.questions, 1)
        ),
    )


def _part(agent: Agent, period: Period, written: Written) -> page.Part:
    chapter = page.Chapter(
        id=f"view-{agent.name}",
        kind="section",
        title=agent.title,
        eyebrow=agent.eyebrow,
        intro=agent.intro,
        sections=tuple(
            page.Section(title=question.text, prose=(written.text(period, question.number),))
            for question in period.questions
        ),
    )
    return page.Part(id=f"part-{agent.name}", title=agent.title, lead=chapter)


CLARITY: Final = PrintedProduct(
    kind="life_clarity",
    title="Life Clarity",
    file_name="life-clarity.pdf",
    manifest=clarity_manifest,
    write=write_with_agents,
    compose=compose_clarity,
)
