"""Life Clarity: four views of one life, written by four calls at the same time."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports import front
from holdfast.apps.reports.astro import Precomputed
from holdfast.apps.reports.manifest import Batch, Period
from holdfast.apps.reports.models import ReportRequest
from holdfast.apps.reports.questions import PROMPTS, Question
from holdfast.apps.reports.render import document as page
from holdfast.apps.reports.wording import month_year
from holdfast.apps.reports.writing import Written

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


def compose_clarity(
    request: ReportRequest, facts: Precomputed, manifest: Sequence[Batch], written: Written
) -> page.ReportDocument:
    """Join the four views to one report."""
    periods = [period for batch in manifest for period in batch.periods]
    return page.ReportDocument(
        title="Life Clarity",
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
