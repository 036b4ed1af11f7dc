"""What became of the e-mails of an order, as its jobs tell it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from holdfast.apps.reports.orders.models import MAIL_KIND, UNDELIVERED, MailInput, MailSort
from holdfast.errors import MailRefusedError
from holdfast.jobs import past_events
from holdfast.model import JobStatus
from holdfast.store.base import JobQuery

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.model import Event, Job
    from holdfast.store.orders import Order

LetterStatus = Literal["sent", "trying", "undelivered"]

_AGAIN_MAX: Final = 100
"""E-mails sent again that are looked at."""

_TOLD_BY: Final = frozenset({"step.started", "step.retrying", "step.completed", UNDELIVERED})

_REFUSED: Final = b'"undelivered"'
"""Output of a job whose e-mail will never be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One e-mail of an order, on its way or at its end."""

    sort: MailSort
    status: LetterStatus
    tries: int
    at: datetime
    """When it was sent, or last tried or given up."""
    job_id: str
    """The job that sends it."""
    error: str | None = None
    """Stable code of what went wrong last; None once it is sent."""
    again: bool = False
    """Whether an operator has asked for it."""


async def letters_of(shop: Shop, order: Order, served_by: Job | None) -> list[Letter]:
    """Return the e-mails of an order, oldest first.

    Args:
        shop: Where it was placed.
        order: The order.
        served_by: Its job, as it is now; None if there is none.
    """
    found = [] if served_by is None else await _of_order_job(shop, served_by)
    query = JobQuery(kind=MAIL_KIND, subject=order.subject, limit=_AGAIN_MAX)
    for job in await shop.client.list(query):
        given = MailInput.model_validate_json(job.input)
        if given.order_id == order.order_id:
            found.append(await _of_mail_job(shop, job, given.sort))
    return sorted(found, key=lambda letter: letter.at)


async def _of_order_job(shop: Shop, job: Job) -> list[Letter]:
    events = await past_events(shop.client, job, _TOLD_BY)
    letters = (_letter(job, sort, events) for sort in MailSort)
    return [letter for letter in letters if letter is not None]


async def _of_mail_job(shop: Shop, job: Job, sort: MailSort) -> Letter:
    """Return the e-mail of a job that does nothing else, however far it is."""
    letter = _letter(job, sort, await past_events(shop.client, job, _TOLD_BY)) or Letter(
        sort=sort, status="trying", tries=0, at=job.created_at, job_id=job.job_id
    )
    if job.status is JobStatus.COMPLETED:
        refused = job.output == _REFUSED
        letter = (
            replace(letter, status="undelivered", error=MailRefusedError.code) if refused else letter
        )
    elif job.status.terminal:
        letter = replace(letter, status="undelivered")
    return replace(letter, again=True)


def _letter(job: Job, sort: MailSort, events: Sequence[Event]) -> Letter | None:
    """Return what the events of its step tell of an e-mail, the last one above all; None without any."""
    status: LetterStatus | None = None
    tries, error, at = 0, None, job.created_at
    for event in events:
        told = msgspec.json.decode(event.data)
        if f"mail/{sort}" != told.get("key") and sort != told.get("sort"):
            continue
        at = event.at
        if event.type == UNDELIVERED:
            # A step that has ended well nevertheless has brought home a refusal.
            error = MailRefusedError.code if status == "sent" else error
            status = "undelivered"
        elif event.type == "step.completed":
            status, tries, error = "sent", told["attempts"], None
        else:
            status, tries = "trying", told["step_attempt"]
            error = told["error"]["code"] if "error" in told else error
    if status is None:
        return None
    if status == "trying" and job.status.terminal:
        status = "undelivered"
    return Letter(sort=sort, status=status, tries=tries, at=at, error=error, job_id=job.job_id)
