"""The Personal Blueprint: 52 sections in nine chapters, written in rounds of five."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Final

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports import front
from holdfast.apps.reports.astro import Precomputed
from holdfast.apps.reports.manifest import Batch, Period
from holdfast.apps.reports.models import ReportRequest, WritingOptions
from holdfast.apps.reports.product import PrintedProduct
from holdfast.apps.reports.questions import PROMPTS, Question
from holdfast.apps.reports.render import document as page
from holdfast.apps.reports.wording import month_year
from holdfast.apps.reports.writing import Written, write_manifest
from holdfast.engine.context import JobContext
from holdfast.engine.mapping import Rounds

WORDS: Final = (250, 360)
"""Word range of one section."""

_CLOSING: Final = (
    "A blueprint is a drawing, not the house.\n"
    "Build what you like of it, change the plan where life has better ideas, and come back to it "
    "when you move a wall."
)


class Section(BaseModel):
    """One of the 52 sections."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    ask: str
    """What the model is asked."""
    look: tuple[str, ...]
    """Bodies that it looks at first."""
    topic: str
    """What the offline writer may say to it."""


class Chapter(BaseModel):
    """One of the nine chapters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    intro: str
    section: tuple[Section, ...]
    """Its sections, in the order of print."""


@cache
def chapters() -> tuple[Chapter, ...]:
    """Return the chapters in the order in which they are printed."""
    found = tomllib.loads((PROMPTS / "blueprint.toml").read_text(encoding="utf-8"))
    return tuple(Chapter.model_validate(entry) for entry in found["chapter"])


def blueprint_manifest(request: ReportRequest) -> tuple[Batch, ...]:
    """Return the sections in the order of print, one to a batch unless the options say otherwise."""
    periods, size = _periods(request), request.options.sections_per_batch
    return tuple(_batch(periods[at : at + size]) for at in range(0, len(periods), size))


async def write_in_rounds(
    job: JobContext, manifest: Sequence[Batch], facts: Precomputed, options: WritingOptions
) -> Written:
    """Write so many batches at a time; a round is finished before the next begins."""
    rounds = Rounds(options.sections_per_round, at_once=options.concurrency)
    return await write_manifest(job, manifest, facts, options, concurrency=rounds)


def compose_blueprint(
    request: ReportRequest, facts: Precomputed, manifest: Sequence[Batch], written: Written
) -> page.ReportDocument:
    """Join the sections to chapters; the sections of a chapter follow each other on its pages."""
    periods = {period.id: period for batch in manifest for period in batch.periods}
    return page.ReportDocument(
        template="blueprint",
        title=BLUEPRINT.title,
        subtitle="Fifty-two drawings of one life",
        person=request.birth.name,
        edition=month_year(request.start),
        sample_notice=front.SAMPLE_NOTICE if written.sample else None,
        author=front.AUTHOR,
        issued=request.start,
        imprint=front.imprint(facts),
        natal=front.natal_page(facts),
        numerology=front.numerology_page(facts),
        parts=tuple(_part(number, facts, periods, written) for number in range(len(chapters()))),
        closing=page.Closing(title="Now build", text=_CLOSING),
    )


def _periods(request: ReportRequest) -> tuple[Period, ...]:
    sections = [(chapter, section) for chapter in chapters() for section in chapter.section]
    return tuple(
        Period(
            id=_section_id(number),
            kind="section",
            first_day=request.start,
            last_day=request.start,
            words=WORDS,
            title=section.title,
            focus=section.look,
            questions=(
                Question(number=number, topic=section.topic, group=chapter.title, text=section.ask),
            ),
        )
        for number, (chapter, section) in enumerate(sections, 1)
    )


def _batch(periods: tuple[Period, ...]) -> Batch:
    first, last = periods[0], periods[-1]
    more = "" if first is last else f"-{last.questions[0].number:02d}"
    return Batch(id=f"{first.id}{more}", label=f"Writing: {first.questions[0].group}", periods=periods)


def _section_id(number: int) -> str:
    return f"section_{number:02d}"


def _part(index: int, facts: Precomputed, periods: dict[str, Period], written: Written) -> page.Part:
    chapter = chapters()[index]
    before = sum(len(earlier.section) for earlier in chapters()[:index])
    return page.Part(
        id=f"chapter-{chapter.id}",
        title=chapter.title,
        intro=chapter.intro,
        chapters=tuple(
            _chapter(f"{index + 1}.{number}", facts, periods[_section_id(before + number)], written)
            for number in range(1, len(chapter.section) + 1)
        ),
    )


def _chapter(place: str, facts: Precomputed, period: Period, written: Written) -> page.Chapter:
    text = written.text(period, period.questions[0].number)
    return page.Chapter(
        id=period.id,
        kind="section",
        title=period.title,
        eyebrow=place,
        running=period.questions[0].group,
        notes=front.placements(facts, period.focus),
        sections=(page.Section(prose=(text,)),),
    )


BLUEPRINT: Final = PrintedProduct(
    kind="personal_blueprint",
    title="Personal Blueprint",
    file_name="personal-blueprint.pdf",
    manifest=blueprint_manifest,
    write=write_in_rounds,
    batch_size="sections_per_batch",
    compose=compose_blueprint,
)
