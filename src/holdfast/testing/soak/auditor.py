"""Compares the books of customers, payment service, shop and mail server. Each finding is a sentence.

Pure functions of `ShopBooks`, so that tests can show them books that are wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from holdfast.apps.reports.orders.models import ORDER_KIND, REPORT_KEY
from holdfast.ids import child_id
from holdfast.testing.chaos.auditor import audit_work, owners_of
from holdfast.testing.soak.books import PAYING, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.testing.chaos.books import JobRow
    from holdfast.testing.soak.books import Letter, OrderRow, Page, ShopBooks, Visit

LOOKED = "look_"
"""How the ids of events begin that the shop has asked for, when a customer came back before the news."""
SLACK_SECONDS = 3.0
"""How long after a refund was stored an e-mail may still arrive that was on its way."""

_PAYMENTS = {
    Way.BANK_REFUSED: "failed",
    Way.ABANDONED: "expired",
    Way.REFUND_RUNNING: "refunded",
    Way.REFUND_AFTER: "refunded",
}
"""What the payment of an order comes to; paid where nothing else is said."""
_STATUSES = {"paid": "ready", "refunded": "refunded"}
"""What a customer is told at the end; that payment is awaited where nothing else is said."""


_GIVEN_BACK = (Way.REFUND_RUNNING, Way.REFUND_AFTER)

_KEPT = PAYING - {Way.REFUND_RUNNING}
"""Ways on which a report must have been made, whether or not it was given back later."""


def audit(books: ShopBooks) -> list[str]:
    """Return everything that is not as promised at the end of a run."""
    orders = {order.order_id: order for order in books.orders}
    served = list(_served(books, orders))
    return list(
        chain(
            _visits(books, orders),
            _payments(books, served),
            _events(books),
            _sums(books),
            _jobs(books, served),
            _making(books, served),
            _reports(books, served),
            _files(books, served),
            _letters(books, served),
            _leaks(books),
            audit_work(books.work),
        )
    )


def _served(books: ShopBooks, orders: dict[str, OrderRow]) -> Iterator[tuple[Visit, OrderRow]]:
    """Yield each visit with its order, where both are there."""
    for visit in books.visits:
        for order_id in visit.order_ids & orders.keys():
            yield visit, orders[order_id]


# orders and money ----------------------------------------------------------------------------------


def _visits(books: ShopBooks, orders: dict[str, OrderRow]) -> Iterator[str]:
    """Each customer has one order and one page to pay it on, and there are no other orders."""
    known: Counter[str] = Counter()
    for visit in books.visits:
        who = f"customer {visit.customer.number} ({visit.customer.way})"
        known.update(visit.order_ids)
        if len(visit.order_ids) != 1:
            yield f"{who} was told of {len(visit.order_ids)} orders: {sorted(visit.order_ids)}"
        if len(visit.page_ids) != 1:
            yield f"{who} was led to {len(visit.page_ids)} payment pages: {sorted(visit.page_ids)}"
        for order_id in sorted(visit.order_ids - orders.keys()):
            yield f"{who} was told of {order_id}, which is not there"
    for order_id, count in known.items():
        if count > 1:
            yield f"{order_id} belongs to {count} customers"
    for order_id in sorted(orders.keys() - known.keys()):
        yield f"{order_id} is there and nobody was told of it"


def _payments(books: ShopBooks, served: list[tuple[Visit, OrderRow]]) -> Iterator[str]:
    """What an order says of its payment is what happened, to the cent."""
    by_order: dict[str, list[Page]] = defaultdict(list)
    for page in books.pages:
        by_order[page.order_id].append(page)
    for visit, order in served:
        way, pages = visit.customer.way, by_order[order.order_id]
        expected = _PAYMENTS.get(way, "paid")
        if order.product != visit.customer.product:
            yield f"{order.order_id} is for {order.product}, ordered was {visit.customer.product}"
        if order.amount != books.prices[order.product]:
            yield f"{order.order_id} costs {order.amount}, the price is {books.prices[order.product]}"
        if order.payment != expected:
            yield f"{order.order_id} ({way}) is {order.payment} instead of {expected}"
        if visit.status != (status := _STATUSES.get(expected, "pending_payment")):
            yield f"{order.order_id} ({way}) is told to be {visit.status!r} instead of {status!r}"
        paid = [page for page in pages if page.paid]
        if len(paid) != (way in PAYING):
            yield f"{order.order_id} ({way}) was paid on {len(paid)} pages"
        yield from _charge(order, pages)


def _charge(order: OrderRow, pages: list[Page]) -> Iterator[str]:
    if order.page_id not in {page.page_id for page in pages}:
        yield f"{order.order_id} has page {order.page_id}, of which the payment service knows nothing"
    for page in pages:
        if page.amount != order.amount:
            yield f"{order.order_id} costs {order.amount}, its page says {page.amount}"
        if page.paid and page.page_id != order.page_id:
            yield f"{order.order_id} was paid on page {page.page_id}, not on its own {order.page_id}"
    paid = sum(page.paid for page in pages)
    if (order.paid or 0) != paid or (order.paid_at is None) == bool(paid):
        yield f"{order.order_id} has recorded {order.paid} paid, the payment service has {paid}"
    if order.refunded != (back := sum(page.refunded for page in pages)):
        yield f"{order.order_id} has recorded {order.refunded} given back, it was {back}"
    for page in pages:
        if page.refunds > 1:
            yield f"{order.order_id} was given back {page.refunds} times"


def _events(books: ShopBooks) -> Iterator[str]:
    """Each event was taken and noted once, for the order that it is about; there are no others."""
    pages = {page.page_id: page.order_id for page in books.pages}
    noted = {event.event_id: event for event in books.noted}
    for told in books.told:
        found = noted.get(told.event_id)
        if not told.taken:
            yield f"event {told.event_id} ({told.type}) was never answered well"
        if found is None:
            yield f"event {told.event_id} ({told.type}) is not noted"
        elif found.order_id != pages.get(told.page_id) or found.outcome not in ("applied", "no_effect"):
            yield (
                f"event {told.event_id} ({told.type}) of {pages.get(told.page_id)} is noted as"
                f" {found.outcome} for {found.order_id}"
            )
    for event_id in sorted(noted.keys() - {told.event_id for told in books.told}):
        if not event_id.startswith(LOOKED):
            yield f"event {event_id} is noted, and nobody has told it"


def _sums(books: ShopBooks) -> Iterator[str]:
    """The till is right."""
    for what, ours, theirs in (
        ("paid", sum(order.paid or 0 for order in books.orders), sum(p.paid for p in books.pages)),
        ("given back", sum(o.refunded for o in books.orders), sum(p.refunded for p in books.pages)),
    ):
        if ours != theirs:
            yield f"{ours} cents were {what} by the orders, {theirs} by the payment service"


# jobs and reports ----------------------------------------------------------------------------------


def _jobs(books: ShopBooks, served: list[tuple[Visit, OrderRow]]) -> Iterator[str]:
    """A paid order has one job, which has ended well or was cancelled by a refund; others have none."""
    serving: dict[str, list[JobRow]] = defaultdict(list)
    for job in books.work.jobs:
        if job.kind == ORDER_KIND:
            serving[job.asked.name].append(job)
    for visit, order in served:
        way, found = visit.customer.way, serving.pop(order.order_id, [])
        if len(found) != (way in PAYING):
            yield f"{order.order_id} ({way}) is served by {len(found)} jobs"
        for job in found:
            if job.job_id != order.job_id:
                yield f"{order.order_id} is served by {job.job_id}, it says {order.job_id}"
            # A report is there before its e-mail is sent, and may be given back in between.
            allowed = ("completed", "cancelled") if way in _GIVEN_BACK else ("completed",)
            if job.status not in allowed:
                yield f"{order.order_id} ({way}): {job.job_id} is {job.status} ({job.error_code})"
    for order_id, left in serving.items():
        yield f"{len(left)} jobs serve {order_id}, which nobody has ordered"


def _making(books: ShopBooks, served: list[tuple[Visit, OrderRow]]) -> Iterator[str]:
    """What makes an order are the jobs of its product, each of which has ended as the order's own."""
    jobs = {job.job_id: job for job in books.work.jobs}
    for visit, order in served:
        way = visit.customer.way
        for job_id, kind in _made_by(books, order).items():
            made = jobs.get(job_id)
            # A refund may come before anything has begun.
            if made is None and way is Way.REFUND_RUNNING:
                continue
            if made is None or made.kind != kind or made.status not in _ends(way):
                told = "not there" if made is None else f"{made.kind}, {made.status}"
                yield f"{order.order_id} ({way}): {job_id} should be {kind} and is {told}"


def _ends(way: Way) -> tuple[str, ...]:
    return ("completed", "cancelled") if way is Way.REFUND_RUNNING else ("completed",)


def _made_by(books: ShopBooks, order: OrderRow) -> dict[str, str]:
    """Return the kinds of the jobs that make what was ordered, by id."""
    if order.job_id is None:
        return {}
    root = child_id(order.job_id, REPORT_KEY)
    parts = books.parts.get(order.product, ())
    return {root: order.product} | {child_id(root, part): part for part in parts}


def _reports(books: ShopBooks, served: list[tuple[Visit, OrderRow]]) -> Iterator[str]:
    """Whatever was paid for is there once, and as its job says."""
    by_job = {report.job_id: report for report in books.reports}
    if len(by_job) != len(books.reports):
        yield f"{len(books.reports) - len(by_job)} jobs have more than one report"
    due: set[str] = set()
    for visit, order in served:
        way = visit.customer.way
        for job_id, kind in _made_by(books, order).items():
            due.add(job_id)
            if kind not in books.parts and job_id not in by_job and way in _KEPT:
                yield f"{order.order_id}: there is no report by {job_id} ({kind})"
    for report in books.reports:
        if report.job_id not in due:
            yield f"{report.job_id} has made a report that nobody has ordered"
        if report.told != report.stored:
            yield f"{report.job_id} tells of {report.told}, stored is {report.stored}"


def _files(books: ShopBooks, served: list[tuple[Visit, OrderRow]]) -> Iterator[str]:
    """Customers have got what they paid for, and only as long as they have not taken it back."""
    told = {report.job_id: report.told.sha256 for report in books.reports}
    for visit, order in served:
        due = {
            kind: told.get(job_id, "")
            for job_id, kind in _made_by(books, order).items()
            if kind not in books.parts and order.payment == "paid"
        }
        for kind in sorted(due.keys() | visit.files.keys()):
            if visit.files.get(kind) != due.get(kind):
                got, expected = visit.files.get(kind), due.get(kind)
                yield f"{order.order_id}: as {kind} the customer got {got}, not {expected}"


# e-mails -------------------------------------------------------------------------------------------


def _letters(books: ShopBooks, served: list[tuple[Visit, OrderRow]]) -> Iterator[str]:
    """One e-mail of each sort that is due, and none of another; each repeat has its reason."""
    arrived: dict[str, dict[str, list[Letter]]] = defaultdict(lambda: defaultdict(list))
    for letter in sorted(books.letters, key=lambda letter: letter.at):
        if not letter.order_id:
            yield f"e-mail {letter.message_id} belongs to no order"
        arrived[letter.order_id][letter.sort].append(letter)
    cancelled = {job.job_id for job in books.work.jobs if job.status == "cancelled"}
    for visit, order in served:
        sorts = arrived[order.order_id]
        yield from _sorts(visit, order, sorts, all_due=order.job_id not in cancelled)
        for sort, letters in sorts.items():
            yield from _repeated(books, order, sort, letters)
            for letter in letters:
                if letter.to != visit.customer.email:
                    yield f"{order.order_id}: the {sort} e-mail went to somebody else"


def _sorts(
    visit: Visit, order: OrderRow, sorts: dict[str, list[Letter]], *, all_due: bool
) -> Iterator[str]:
    """Tell what is missing, too many or late; a cancelled job has told what it had until then."""
    way = visit.customer.way
    due = {"confirmation", "ready"} if way in PAYING else set()
    for sort in sorted(due - sorts.keys()) if all_due else ():
        yield f"{order.order_id} ({way}): the {sort} e-mail never arrived"
    for sort in sorted(sorts.keys() - due):
        yield f"{order.order_id} ({way}): an e-mail of sort {sort!r} arrived"
    for letter in sorts.get("ready", ()):
        if order.refunded_at is not None and letter.at > order.refunded_at + SLACK_SECONDS:
            late = letter.at - order.refunded_at
            yield f"{order.order_id}: the ready e-mail arrived {late:.1f} s after it was given back"


def _repeated(books: ShopBooks, order: OrderRow, sort: str, letters: list[Letter]) -> Iterator[str]:
    """The sender repeats only what it may not know to have arrived: no answer came, or it was killed."""
    if len({letter.message_id for letter in letters}) > 1:
        yield f"{order.order_id}: e-mails of sort {sort!r} have different ids"
    senders = {
        process.name: process
        for (job_id, _), process in owners_of(books.work).items()
        if job_id == order.job_id
    }
    blows = [blow for process in senders.values() for blow in process.blows]
    for first, again in pairwise(letters):
        struck = any(began <= again.at and first.at <= ended for began, ended in blows)
        if first.answered and not struck:
            yield (
                f"{order.order_id}: the {sort} e-mail came again at {again.at:.1f} s, though the one of"
                f" {first.at:.1f} s was answered and its worker was not struck in between"
            )


def letters_repeated(books: ShopBooks) -> int:
    """Return how many e-mails arrived that had arrived before."""
    return len(books.letters) - len({letter.message_id for letter in books.letters})


def _leaks(books: ShopBooks) -> Iterator[str]:
    for leak in books.leaks:
        yield f"line {leak.line} of {leak.log} holds {leak.what}"
