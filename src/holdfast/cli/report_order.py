"""Which job a report command means: the same one each time the same command is given.

The idempotency key derives from the kind, the birth data as typed, the length of the report and
the file, never from the day. So a command that is given again tomorrow finds today's job, though
its first day would be another by default; the job's own first day stays. An explicit first day
that differs from that job's is another report, with a key of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.clock import SystemClock
from holdfast.errors import IdempotencyConflictError, InvalidInputError
from holdfast.ids import derived_id
from holdfast.model import Budget

if TYPE_CHECKING:
    from holdfast.apps.reports.models import ReportRequest
    from holdfast.cli.report_options import ReportOptions
    from holdfast.engine.client import JobClient
    from holdfast.model import Job

HOROSCOPE = "personal_horoscope"
BUNDLE = "bundle"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOrder:
    """A checked request with where its result goes."""

    kind: str
    request: ReportRequest
    out: Path
    """The file to write; the folder, if it is a bundle."""
    key: str
    """Of the report, whatever the day."""
    start_given: bool
    """Whether the first day was typed."""
    budget: Budget

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.kind.replace('_', ' ').capitalize()} for {self.request.birth.name}"

    @property
    def is_bundle(self) -> bool:
        """Whether it is several reports, each with a file of its own."""
        return self.kind == BUNDLE

    def file_of(self, result: dict[str, Any]) -> Path:
        """Return where the file of a finished report goes, by what its job gave."""
        return self.out / result["artifact"] if self.is_bundle else self.out


def order_from(options: ReportOptions) -> ReportOrder:
    """Check what was typed.

    Raises:
        InvalidInputError: A value is unusable; the message says which and what to give instead.
    """
    from holdfast.apps.reports import report_request
    from holdfast.cli.files import check_target

    if options.days is not None and options.kind not in {HOROSCOPE, BUNDLE}:
        raise InvalidInputError(
            f"--days is for {HOROSCOPE!r} and {BUNDLE!r}, not for {options.kind!r}", hint="leave it out"
        )
    given: dict[str, Any] = {
        "days": options.days,
        "answers_per_period": options.answers,
        "concurrency": options.concurrency,
    }
    request = report_request(
        name=options.name,
        born=options.born,
        place=options.place,
        start=options.start or today(),
        **{name: value for name, value in given.items() if value is not None},
    )
    default = options.kind if options.kind == BUNDLE else f"{options.kind}.pdf"
    out = (options.out or Path(default)).expanduser()
    for file in _files(options.kind, out):
        check_target(file)
    return ReportOrder(
        kind=options.kind,
        request=request,
        out=out,
        key=_key(options, request, out),
        start_given=options.start is not None,
        budget=budget_of(options.budget),
    )


def _files(kind: str, out: Path) -> list[Path]:
    """Return the files that the report becomes."""
    if kind != BUNDLE:
        return [out]
    from holdfast.apps.reports.jobs import BUNDLE as PRODUCT

    return [out / part.file_name for part in PRODUCT.parts]


def _key(options: ReportOptions, request: ReportRequest, out: Path) -> str:
    # As typed rather than as resolved: a later release may know the place better, and the same
    # command must find its job all the same.
    birth = request.birth
    return derived_id(
        "report",
        options.kind,
        birth.name,
        birth.birth_date.isoformat(),
        "" if birth.birth_time is None else birth.birth_time.isoformat(),
        " ".join(options.place.split()),
        str(options.days or ""),
        str(options.answers or ""),
        str(out.resolve()),
    )


def today() -> str:
    """Return the day it is here."""
    return SystemClock().now().astimezone().date().isoformat()


def budget_of(given: str | None) -> Budget:
    """Read an amount of dollars; unlimited if none is given.

    Raises:
        InvalidInputError: It is not an amount.
    """
    if given is None:
        return Budget()
    try:
        return Budget(usd=Decimal(given.strip().lstrip("$")))
    except (InvalidOperation, ValueError):
        raise InvalidInputError(
            f"budget {given!r} is not an amount of money", hint="write dollars, such as 2.50"
        ) from None


async def submit_order(client: JobClient, order: ReportOrder) -> Job:
    """Submit the order, or find the job that an earlier command of the same words submitted.

    Raises:
        UnknownJobKindError: There is no such report.
    """
    try:
        return await _submit(client, order, order.key)
    except IdempotencyConflictError as conflict:
        found = await client.get(conflict.job_id)
    if not order.start_given or first_day(found) == order.request.start:
        return found
    try:
        return await _submit(client, order, f"{order.key}/{order.request.start.isoformat()}")
    except IdempotencyConflictError as conflict:
        # Differs in how it is written only, such as the concurrency: the same report.
        return await client.get(conflict.job_id)


async def _submit(client: JobClient, order: ReportOrder, key: str) -> Job:
    # A queue of its own, so that running this report runs, and pays for, no other one.
    return await client.submit(
        order.kind,
        order.request,
        idempotency_key=key,
        queue=order.key,
        budget=order.budget if order.budget.usd is not None else None,
    )


def first_day(job: Job) -> date | None:
    """Return the first day of a report job, None if its input does not say."""
    try:
        return date.fromisoformat(msgspec.json.decode(job.input)["start"])
    except (KeyError, TypeError, ValueError):
        return None
