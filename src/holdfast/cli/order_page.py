"""`holdfast orders list|show` on a terminal: a table of orders, and one order on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from holdfast.apps.reports.orders.models import OrderStatus, decode_details
from holdfast.cli.job_table import status_text as job_status_text
from holdfast.cli.wording import age, moment, price, printable, rough_duration, size
from holdfast.clock import SystemClock
from holdfast.store.orders import Payment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from holdfast.apps.reports.orders.letters import Letter
    from holdfast.apps.reports.orders.overview import Listed, Overview
    from holdfast.apps.reports.orders.parts import Part
    from holdfast.store.orders import Order

_STYLES = {
    OrderStatus.PENDING_PAYMENT: "waiting",
    OrderStatus.PAID: "busy",
    OrderStatus.GENERATING: "busy",
    OrderStatus.READY: "good",
    OrderStatus.FAILED: "bad",
    OrderStatus.REFUNDED: "quiet",
}
_WIDE = 100
"""Columns from which there is room for everything."""

_LETTER_STYLES = {"sent": "good", "trying": "waiting", "undelivered": "bad"}


def status_text(order: Order, status: OrderStatus) -> Text:
    """Return what a customer is told in its colour; of an unpaid order, how its payment stands."""
    words = f"payment {order.payment}" if status is OrderStatus.PENDING_PAYMENT else str(status)
    return Text(words, style=_STYLES[status])


def table_of(orders: Sequence[Listed], *, width: int) -> Table:
    """Return one row for each order; nothing of it is personal."""
    wide = width >= _WIDE
    table = _table("order", "~product", "status", ">price", *([">given back"] if wide else []), ">age")
    now = SystemClock().now()
    for listed in orders:
        order = listed.order
        given_back = price(order.refunded_cents, order.currency) if order.refunded_cents else ""
        table.add_row(
            order.order_id,
            Text(printable(order.product)),
            status_text(order, listed.status),
            price(order.amount_cents, order.currency),
            *([given_back] if wide else []),
            age(order.created_at, now),
        )
    return table


def print_page(page: Overview, out: Console, *, details: bool) -> None:
    """Print all of an order; what is personal only if `details` are asked for."""
    head = Text(printable(page.title), style="strong")
    head.append("  ")
    head.append_text(status_text(page.order, page.status))
    out.print(head)
    out.print(_grid(_facts(page)))
    if page.retriable:
        _remark(out, f"holdfast orders retry {page.order.order_id}")
    _section(out, "reports", _parts_table(page.parts))
    _section(out, "e-mails", _letters_table(page.letters))
    if details:
        out.print()
        out.print("customer", style="heading")
        out.print(Padding(_grid(_personal(page.order)), (0, 0, 0, 2), expand=False))


def _facts(page: Overview) -> Iterator[tuple[str, str]]:
    order = page.order
    yield "order", order.order_id
    yield "product", order.product
    for fact in page.payment_facts:
        yield fact.what, f"{moment(fact.at)} · {price(fact.cents, order.currency)}"
    if order.payment is not Payment.PAID:
        yield "payment", str(order.payment)
    if order.session_id is not None:
        yield "payment page", order.session_id
    if order.payment_id is not None:
        yield "payment id", order.payment_id
    if order.job_id is not None:
        status = "deleted" if page.served_by is None else str(page.served_by.status)
        yield "job", f"{order.job_id} · {status}"
    if page.progress is not None:
        yield "making", _progress_words(page)
    if order.note:
        yield "note", order.note


def _progress_words(page: Overview) -> str:
    progress = page.progress
    if progress is None:
        return ""
    words = [f"{progress.fraction:.0%}".replace("%", " %")]
    if progress.label:
        words.append(progress.label)
    if progress.eta_seconds is not None:
        words.append(f"about {rough_duration(progress.eta_seconds)} left")
    return " · ".join(words)


def _personal(order: Order) -> Iterator[tuple[str, str]]:
    details = decode_details(order.details)
    birth = details.request.birth
    yield "e-mail", details.email
    yield "name", birth.name
    time = "time unknown" if birth.birth_time is None else f"{birth.birth_time:%H:%M}"
    yield "born", f"{birth.birth_date} {time}"
    yield "place", birth.place if isinstance(birth.place, str) else birth.place.label
    yield "first day", str(details.request.start)


def _parts_table(parts: Sequence[Part]) -> Table:
    table = _table("~report", "status", ">done", ">pages", ">size", "job")
    for part in parts:
        job, result = part.job, part.result
        if job is None:
            table.add_row(Text(printable(part.product.title)), Text("not begun", style="quiet"))
            continue
        done = f"{job.progress.fraction:.0%}".replace("%", " %") if job.progress.total else "–"
        table.add_row(
            Text(printable(part.product.title)),
            job_status_text(job),
            "100 %" if result else done,
            f"{result.pages:,}" if result else "",
            size(result.size_bytes) if result else "",
            job.job_id,
        )
    return table


def _letters_table(letters: Sequence[Letter]) -> Table:
    table = _table("e-mail", "status", "when", ">tries", "error")
    for letter in letters:
        table.add_row(
            f"{letter.sort} again" if letter.again else str(letter.sort),
            Text(letter.status, style=_LETTER_STYLES[letter.status]),
            moment(letter.at),
            f"{letter.tries:,}",
            letter.error or "",
        )
    return table


def _table(*columns: str) -> Table:
    """Return a plain table: `>` aligns a column to the right, `~` lets it become narrower, no other."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="quiet")
    for column in columns:
        justify: Any = "right" if column.startswith(">") else "left"
        narrows = column.startswith("~")
        table.add_column(column.lstrip(">~"), justify=justify, no_wrap=not narrows, overflow="ellipsis")
    return table


def _grid(rows: Iterator[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="quiet", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, words in rows:
        grid.add_row(name, printable(words))
    return grid


def _section(out: Console, title: str, table: Table) -> None:
    if table.row_count:
        out.print()
        out.print(title, style="heading")
        out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _remark(out: Console, words: str) -> None:
    out.print(Padding(Text(words, style="quiet"), (0, 0, 0, 2), expand=False))
