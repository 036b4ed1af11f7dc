r"""The renderer's whole input: one frozen, validated document that round-trips through JSON.

Every text is plain text.  Nothing in it is ever read as markup, so `#`, `$`, `*`, `<` and `\\`
print as themselves.  A blank line or a line break in a prose text starts a new paragraph.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ChapterKind = Literal["yearly", "monthly", "weekly", "daily", "section"]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,80}$")]
Line = Annotated[str, Field(min_length=1, max_length=400)]
Cycle = Annotated[float, Field(ge=0, lt=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Moon(_Model):
    """The Moon at one moment, drawn natively and described in words beside the drawing."""

    age: Cycle
    """Fraction of the cycle: 0 is new, 0.25 first quarter, 0.5 full, 0.75 last quarter."""
    phase: str = ""
    illumination: Annotated[int, Field(ge=0, le=100)] = 0
    """Lit part of the disc in percent."""
    sign: str = ""
    sign_glyph: str = ""


class MoonDay(_Model):
    """One day in the moon strip of a week or the moon calendar of a month."""

    date: dt.date
    weekday: str
    """Short name, for example `Mon`."""
    moon: Moon
    target: Identifier | None = None
    """Chapter that the day links to."""


class PhaseMoment(_Model):
    """An exact new moon, quarter or full moon."""

    name: Line
    age: Cycle
    when: Line


class Transit(_Model):
    """One aspect of a day, printed as `♀ trine ☉ (0.4°)`."""

    transiting: Line
    aspect: Line
    natal: Line
    orb: str = ""


class Answer(_Model):
    """A question and its answer; the answer may be empty or thousands of words long."""

    question: Line
    answer: str


class Section(_Model):
    """A titled group of prose paragraphs, questions and answers, or both."""

    title: str = ""
    prose: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()


class Chapter(_Model):
    """One opening and its sections; starts on a new page."""

    id: Identifier
    kind: ChapterKind
    title: Line
    eyebrow: str = ""
    """Small line over the title, for example `The week ahead`."""
    running: str = ""
    """Text of the running header; the title when empty."""
    date: dt.date | None = None
    """First day of the period; a daily chapter without it has no place in the calendars."""
    notes: tuple[str, ...] = ()
    """Small lines beside the title, where the template has a place for them."""
    intro: str = ""
    moon: Moon | None = None
    days: tuple[MoonDay, ...] = ()
    phases: tuple[PhaseMoment, ...] = ()
    transits: tuple[Transit, ...] = ()
    sections: tuple[Section, ...] = ()

    @model_validator(mode="after")
    def _daily_has_date(self) -> Self:
        if self.kind == "daily" and self.date is None:
            msg = f"chapter {self.id!r} is daily but has no date – give the day it is about"
            raise ValueError(msg)
        return self


class Part(_Model):
    """A month, a year or a group of sections: one entry of the contents and of the bookmarks."""

    id: Identifier
    title: Line
    intro: str = ""
    lead: Chapter | None = None
    """Opens the part under its own title (the monthly or yearly chapter); may be missing."""
    chapters: tuple[Chapter, ...] = ()

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.lead is None and not self.chapters:
            msg = f"part {self.id!r} has no chapter – leave it out or give it one"
            raise ValueError(msg)
        return self

    def all_chapters(self) -> tuple[Chapter, ...]:
        """Return the lead, if there is one, and the chapters, in reading order."""
        return self.chapters if self.lead is None else (self.lead, *self.chapters)


class NatalRow(_Model):
    """One row of the table of positions."""

    glyph: str = ""
    name: Line
    sign_glyph: str = ""
    sign: Line
    position: Line
    house: str = ""
    retrograde: bool = False


class NatalAspect(_Model):
    """An aspect between two natal positions, printed as `☽ trine ♃ 0.4°`."""

    first: Line
    aspect: Line
    second: Line
    orb: str = ""


class NatalChart(_Model):
    """The natal chart page; without a birth time there is no ascendant, midheaven or house."""

    when: Line
    place: Line
    house_system: str | None = None
    wheel_svg: str
    rows: tuple[NatalRow, ...]
    ascendant: str | None = None
    midheaven: str | None = None
    aspects: tuple[NatalAspect, ...] = ()
    moon_age: Cycle | None = None
    """Phase of the moon at birth; the cover shows it."""
    notes: tuple[str, ...] = ()


class NumerologyNumber(_Model):
    """One number of the profile."""

    name: Line
    value: Line
    keyword: str = ""
    text: str = ""


class LuckyColour(_Model):
    """A named colour swatch."""

    name: Line
    rgb: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


class Numerology(_Model):
    """The numerology page."""

    intro: str = ""
    numbers: tuple[NumerologyNumber, ...]
    colours: tuple[LuckyColour, ...] = ()
    notes: tuple[str, ...] = ()


class Closing(_Model):
    """The last page."""

    title: Line
    text: str = ""


class Labels(_Model):
    """Words that the renderer itself prints, so that another language needs no new template."""

    prepared_for: Line = "Prepared for"
    born: Line = "Born"
    contents: Line = "Contents"
    natal_chart: Line = "Natal chart"
    natal_alt: Line = "Natal chart wheel. The table on this page lists the same positions."
    houses: Line = "houses"
    body: Line = "Body"
    sign: Line = "Sign"
    position: Line = "Position"
    house: Line = "House"
    retrograde: Line = "R"
    retrograde_note: Line = "R = retrograde"
    ascendant: Line = "Ascendant"
    midheaven: Line = "Midheaven"
    aspects: Line = "Aspects"
    numerology: Line = "Numerology"
    colours: Line = "Your colours"
    moon_in: Line = "Moon in"
    lit: Line = "lit"
    transits: Line = "In the sky"
    weekdays: tuple[Line, Line, Line, Line, Line, Line, Line] = (
        "Mon",
        "Tue",
        "Wed",
        "Thu",
        "Fri",
        "Sat",
        "Sun",
    )
    page_of: Line = "{page} of {total}"
    """Footer; both placeholders are replaced by numbers."""


class ReportDocument(_Model):
    """Everything that is printed in one report."""

    template: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")] = "book"
    """Which of the designs in `templates/` prints it: a module with `front` and `body`."""
    title: Line
    subtitle: str = ""
    person: Line
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] = "en"
    edition: str = ""
    """Year or edition line at the foot of the cover."""
    sample_notice: str | None = None
    """Told discreetly in the imprint and in every footer, for a text written without a model."""
    author: Line = "Holdfast Reports"
    issued: dt.date
    """Date of issue, also the PDF's creation date: the renderer never reads a clock."""
    imprint: tuple[str, ...] = ()
    """Paragraphs of the page behind the cover: how it was made, what it is not, rights."""
    natal: NatalChart | None = None
    numerology: Numerology | None = None
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    closing: Closing | None = None
    labels: Labels = Labels()

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        names = [name for part in self.parts for name in _names(part)]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            msg = f"id {twice[0]!r} is used {names.count(twice[0])} times – ids are link targets"
            raise ValueError(msg)
        return self

    def all_chapters(self) -> tuple[Chapter, ...]:
        """Return every chapter in reading order."""
        return tuple(chapter for part in self.parts for chapter in part.all_chapters())


def _names(part: Part) -> list[str]:
    own = [] if part.lead is not None else [part.id]
    return own + [chapter.id for chapter in part.all_chapters()]
