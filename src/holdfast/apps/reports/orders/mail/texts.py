"""What the e-mails of an order say: all their words, and nothing of how they look."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, assert_never

from holdfast.apps.reports.orders.models import MailSort
from holdfast.apps.reports.wording import joined, long_date
from holdfast.wording import counted, size

if TYPE_CHECKING:
    from datetime import date

NAME_CHARACTERS_MAX: Final = 60
"""Of a name in a subject; all of it stands in the e-mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailPart:
    """One report of an order, as an e-mail tells of it."""

    title: str
    file_url: str | None = None
    """Where to download it; None while there is nothing to download."""
    pages: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFacts:
    """What there is to tell of an order."""

    order_id: str
    title: str
    """What was bought."""
    name: str = field(repr=False)
    """Whom it is about, in any script."""
    parts: tuple[MailPart, ...]
    """What it consists of, in the order in which it is offered: one report, or those of a bundle."""
    page_url: str = field(repr=False)
    """The page that follows the order."""
    links_until: date
    """The last day on which the links open anything."""
    price: str | None = None
    """What was paid, in words."""
    eta_seconds: float | None = None
    """How long it will take from now on, if that is known."""
    test: bool = False
    """Nobody paid anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Words that lead somewhere."""

    words: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One report in an e-mail's list."""

    title: str
    told: str
    """What there is to say of it, such as how long it is."""
    link: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An e-mail's words, in the order in which they are read."""

    subject: str
    preview: str
    """What lists of e-mails show beside the subject."""
    heading: str
    opening: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    button: Link
    steps_heading: str = ""
    steps: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()


def letter_of(sort: MailSort, facts: MailFacts) -> Letter:
    """Return the words of an e-mail."""
    match sort:
        case MailSort.CONFIRMATION:
            return _confirmation(facts)
        case MailSort.READY:
            return _ready(facts)
        case MailSort.FAILED:
            return _partly_failed(facts) if _made(facts) else _failed(facts)
        case _:
            assert_never(sort)


def _confirmation(facts: MailFacts) -> Letter:
    several = len(facts.parts) > 1
    if facts.eta_seconds is None:
        eta = "We cannot say yet how long that will take."
    else:
        eta = f"{'All of it' if several else 'It'} should be ready in {about(facts.eta_seconds)}."
    paid = f"Your payment of {facts.price} has arrived" if facts.price else "Your payment has arrived"
    if facts.test:
        paid = "Your order has arrived"
    return Letter(
        subject=_subject("Your order:", facts),
        preview=f"{eta} We will write to you when it is ready.",
        heading=f"Thank you. Your {'reports are' if several else 'report is'} in the making.",
        opening=(
            f"{paid}, and we are at work on {facts.title}. {eta}",
            f"We will write to you again as soon as {'all are' if several else 'it is'} ready.",
        ),
        rows=tuple(Row(title=part.title, told="in the making") for part in facts.parts if several),
        button=Link(words="Follow your order", url=facts.page_url),
        closing=(_links_until(facts, "The link to your order works"),),
    )


def _ready(facts: MailFacts) -> Letter:
    several = len(facts.parts) > 1
    [first, *_] = facts.parts
    if several or first.file_url is None:
        button = Link(words="Open your order", url=facts.page_url)
    else:
        button = Link(words="Download your report", url=first.file_url)
    until = _links_until(facts, "The links work" if several else "The link works")
    return Letter(
        subject=_subject("Ready:", facts),
        preview=f"{_extent(facts)} {until}",
        heading=f"Your {'reports are' if several else 'report is'} ready.",
        opening=(f"{facts.title} is written, printed to PDF and yours to keep.",),
        rows=tuple(_row(part, with_link=several) for part in facts.parts),
        button=button,
        closing=(f"{until} Please save {'the files' if several else 'the file'} by then.",),
    )


def _failed(facts: MailFacts) -> Letter:
    return Letter(
        subject=_subject("A problem with your order:", facts),
        preview="We are looking into it, and there is nothing that you need to do.",
        heading=f"We could not finish your {'reports' if len(facts.parts) > 1 else 'report'} yet.",
        opening=(
            f"Something went wrong on our side while we were making {facts.title}. We are sorry.",
            "There is nothing that you need to do.",
        ),
        button=Link(words="Look at your order", url=facts.page_url),
        steps_heading=_STEPS_HEADING,
        steps=_steps("If we cannot make it after all, you get your money back.", facts),
        closing=(_links_until(facts, "The link to your order works"),),
    )


def _partly_failed(facts: MailFacts) -> Letter:
    made = [part.title for part in facts.parts if part.file_url]
    missing = [part.title for part in facts.parts if not part.file_url]
    is_are = "is" if len(made) == 1 else "are"
    some, all_ = _number(len(made)), _number(len(facts.parts))
    return Letter(
        subject=_subject("Ready in part:", facts),
        preview=f"{joined(made)} {is_are} ready; {joined(missing)} will take longer.",
        heading=f"{some.capitalize()} of your {all_} reports {is_are} ready.",
        opening=(
            f"{joined(made)} {is_are} yours to download now.",
            f"Something went wrong on our side while we were making {joined(missing)}. We are sorry.",
            "There is nothing that you need to do.",
        ),
        rows=tuple(_row(part, with_link=True) for part in facts.parts),
        button=Link(words="Open your order", url=facts.page_url),
        steps_heading=_STEPS_HEADING,
        steps=_steps("If we cannot make what is missing, you get your money back for it.", facts),
        closing=(f"{_links_until(facts, 'The links work')} Please save the files by then.",),
    )


_STEPS_HEADING = "What happens next"


def _steps(refund: str, facts: MailFacts) -> tuple[str, ...]:
    look = "A person looks at every order that runs into trouble, yours included."
    go_on = "We go on from where it stopped, and write to you when it is ready. Nothing written is lost."
    return (look, go_on) if facts.test else (look, go_on, refund)


def _made(facts: MailFacts) -> bool:
    return any(part.file_url for part in facts.parts)


def _row(part: MailPart, *, with_link: bool) -> Row:
    if part.file_url is None:
        return Row(title=part.title, told="not ready yet")
    told = "PDF"
    if part.pages is not None:
        told += f", {counted(part.pages, 'page')}"
    if part.size_bytes is not None:
        told += f", {size(part.size_bytes).replace('.0 ', ' ')}"
    link = Link(words="Download", url=part.file_url) if with_link else None
    return Row(title=part.title, told=told, link=link)


def _number(number: int) -> str:
    return _NUMBERS[number - 1] if number <= len(_NUMBERS) else str(number)


_NUMBERS: Final = "one two three four five six".split()


def _extent(facts: MailFacts) -> str:
    pages = sum(part.pages or 0 for part in facts.parts)
    return f"{counted(pages, 'page')} to download." if pages else "Download it now."


def _links_until(facts: MailFacts, subject: str) -> str:
    return f"{subject} until {long_date(facts.links_until)}."


def _subject(what: str, facts: MailFacts) -> str:
    name = facts.name
    if len(name) > NAME_CHARACTERS_MAX:
        name = name[: NAME_CHARACTERS_MAX - 1].rstrip() + "…"
    # The name comes last: written from right to left, it then disturbs nothing behind it.
    return f"{'[Test] ' if facts.test else ''}{what} {facts.title} for {name}"


def about(seconds: float) -> str:
    """Return a time to wait in words, rounded up: 'about 3 minutes', 'about 2½ hours'."""
    if seconds < 45:
        return "less than a minute"
    minutes = math.ceil(seconds / 60)
    if minutes > 10:
        minutes = math.ceil(minutes / 5) * 5
    if minutes <= 55:
        return "about a minute" if minutes == 1 else f"about {minutes} minutes"
    halves = math.ceil(seconds / 1800)
    if halves <= 2:
        return "about an hour"
    if halves <= 47:
        return f"about {halves // 2}{'½' if halves % 2 else ''} hours"
    days = math.ceil(seconds / 86_400)
    return "about a day" if days == 1 else f"about {days} days"
