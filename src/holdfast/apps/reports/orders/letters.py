"""What became of the e-mails of an order, as its jobs tell it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from holdfast.apps.reports.orders.models import MAIL_KIND, MailInput, MailSort
from holdfast.jobs import past_events
from holdfast.store.base import JobQuery

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.model import Checkpoint, Event, Job
    from holdfast.store.orders import Order

LetterStatus = Literal["sent", "trying", "undelivered"]

_AGAIN_MAX: Final = 100
"""E-mails sent again that are looked at."""

_TROUBLES: Final = frozenset({"step.started", "step.retrying", "mail.undelivered"})


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


_Told = list[tuple["Event", dict[str, Any]]]
"""Events with their fields."""


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
    records = await shop.client.records(job.job_id)
    steps = {step.key: step for step in records.checkpoints if step.finished}
    events = await past_events(shop.client, job, _TROUBLES)
    found = []
    for sort in MailSort:
        letter = _letter(job, sort, steps.get(_key(sort)), _about(events, sort))
        if letter is not None:
            found.append(letter)
    return found


async def _of_mail_job(shop: Shop, job: Job, sort: MailSort) -> Letter:
    """Return the e-mail of a job that does nothing else, however far it is."""
    records = await shop.client.records(job.job_id)
    step = next((step for step in records.checkpoints if step.finished), None)
    events = _about(await past_events(shop.client, job, _TROUBLES), sort)
    letter = _letter(job, sort, step, events) or Letter(
        sort=sort,
        status="undelivered" if job.status.terminal else "trying",
        tries=int(job.status.terminal),
        at=job.finished_at or job.created_at,
        error=None,
        job_id=job.job_id,
    )
    if letter.status == "undelivered" and job.error is not None:
        cause = str(job.error.details.get("cause_code", job.error.code))
        letter = replace(letter, error=cause)
    return replace(letter, again=True)


def _letter(job: Job, sort: MailSort, step: Checkpoint | None, events: _Told) -> Letter | None:
    """Return what a step and the events about it tell of an e-mail; None if nothing has begun."""
    if step is not None:
        return Letter(
            sort=sort,
            status="sent",
            tries=step.attempts,
            at=step.finished_at or job.created_at,
            job_id=job.job_id,
        )
    if not events:
        return None
    last, _ = events[-1]
    ended = last.type == "mail.undelivered" or job.status.terminal
    errors = [fields["error"] for _, fields in events if "error" in fields]
    return Letter(
        sort=sort,
        status="undelivered" if ended else "trying",
        tries=max(int(fields.get("step_attempt", 1)) for _, fields in events),
        at=last.at,
        error=_code_of(errors[-1]) if errors else None,
        job_id=job.job_id,
    )


def _about(events: Sequence[Event], sort: MailSort) -> _Told:
    """Return the events about an e-mail with what they tell."""
    told = [(event, msgspec.json.decode(event.data)) for event in events]
    return [
        (event, fields)
        for event, fields in told
        if fields.get("key") == _key(sort) or fields.get("sort") == sort
    ]


def _code_of(error: dict[str, str] | str) -> str:
    """Return the code of an error as events of steps tell it, or as ours does."""
    return error if isinstance(error, str) else error["code"]


def _key(sort: MailSort) -> str:
    return f"mail/{sort}"
