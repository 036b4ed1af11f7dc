"""Reads the books of a shop at the end of a run: from what lies there, not by the code under test."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from typing import TYPE_CHECKING, Any

import pikepdf
import psycopg

from holdfast.apps.reports.bundle import Bundle
from holdfast.apps.reports.jobs import PRODUCTS
from holdfast.apps.reports.orders.models import MAIL_KIND, ORDER_KIND, MailSort
from holdfast.apps.reports.terms import load_terms
from holdfast.artifacts.object_store import key_of
from holdfast.ids import derived_id
from holdfast.testing.chaos.books import Asked
from holdfast.testing.chaos.reading import read_books
from holdfast.testing.soak.books import (
    File,
    Leak,
    Letter,
    Noted,
    OrderRow,
    Page,
    Report,
    ShopBooks,
    Told,
)
from holdfast.testing.soak.options import SECRET
from holdfast.testing.stripe import API_KEY, WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from holdfast.testing.chaos.books import JobRow
    from holdfast.testing.chaos.stage import Stage
    from holdfast.testing.servers.smtp import Smtp
    from holdfast.testing.soak.customers import HighStreet
    from holdfast.testing.stripe import StripeSimulator

_MICROS = 1_000_000
_ORDERS = """
SELECT order_id, product, amount_cents, payment, session_id, paid_cents, paid_at, refunded_cents,
    refunded_at, job_id
FROM shop_orders
"""
_NOTED = "SELECT event_id, order_id, outcome FROM shop_payment_events"
_OPEN_ROWS = """
SELECT job_id, 'its input' AS what, input AS text FROM jobs JOIN payloads ON payloads.job = jobs.id
WHERE kind IN ('{order}', '{mail}')
UNION ALL
SELECT job_id, 'an event', data FROM events JOIN jobs ON jobs.id = events.job
"""
"""What of jobs may be shown to people who are not meant to know whom they are for."""
_TOKEN = re.compile(r"token=(?!\*|\[|REDACTED|redacted)[\w.~-]{12,}|Bearer [\w.~-]{12,}")


async def read_shop(stage: Stage, street: HighStreet, stripe: StripeSimulator, smtp: Smtp) -> ShopBooks:
    """Read everything, after all processes have left."""
    work = await read_books(stage, {}, _asked_of)
    orders, noted, shown = await asyncio.to_thread(_read_tables, stage.store_url)
    secrets = _secrets(street)
    return ShopBooks(
        work=work,
        visits=list(street.visits),
        pages=list(_pages(stripe)),
        told=list(_told(stripe)),
        noted=[Noted(event_id=row[0], order_id=row[1], outcome=row[2]) for row in noted],
        orders=[_order(row, stage.wall_zero) for row in orders],
        reports=await asyncio.to_thread(_reports, work.jobs, stage.artifacts),
        letters=list(_letters(smtp, [row[0] for row in orders], stage.zero)),
        leaks=await asyncio.to_thread(_leaks, stage, shown, secrets),
        parts={
            product.kind: tuple(part.kind for part in product.parts)
            for product in PRODUCTS
            if isinstance(product, Bundle)
        },
        prices={product: int(terms.price_usd * 100) for product, terms in load_terms().items()},
    )


def _asked_of(job_id: str, kind: str, given: Any) -> Asked:
    return Asked(name=given["order_id"] if kind in (ORDER_KIND, MAIL_KIND) else job_id)


def _read_tables(url: str) -> tuple[list[Any], list[Any], list[Any]]:
    shown = _OPEN_ROWS.format(order=ORDER_KIND, mail=MAIL_KIND)
    with psycopg.connect(url, autocommit=True) as connection:
        orders, noted, rows = (
            connection.execute(query.encode()).fetchall() for query in (_ORDERS, _NOTED, shown)
        )
    return orders, noted, rows


def _order(row: tuple[Any, ...], wall_zero: float) -> OrderRow:
    order_id, product, amount, payment, page_id, paid, paid_at, refunded, refunded_at, job_id = row
    return OrderRow(
        order_id=order_id,
        product=product,
        amount=amount,
        payment=payment,
        page_id=page_id,
        paid=paid,
        paid_at=None if paid_at is None else paid_at / _MICROS - wall_zero,
        refunded=refunded,
        refunded_at=None if refunded_at is None else refunded_at / _MICROS - wall_zero,
        job_id=job_id,
    )


# the payment service and the mail server -----------------------------------------------------------


def _pages(stripe: StripeSimulator) -> Iterator[Page]:
    for page in stripe.books.purchases.values():
        yield Page(
            page_id=page.session_id,
            order_id=page.metadata.get("order_id", ""),
            amount=page.amount_cents,
            paid=page.amount_cents if page.payment_status == "paid" else 0,
            refunded=page.refunded_cents,
            refunds=sum(refund.session_id == page.session_id for refund in stripe.books.refunds),
        )


def _told(stripe: StripeSimulator) -> Iterator[Told]:
    pages = {page.payment_id: page.session_id for page in stripe.books.purchases.values()}
    for delivery in stripe.courier.deliveries:
        about = delivery.event["data"]["object"]
        page_id = (
            about["id"] if about["object"] == "checkout.session" else pages[about["payment_intent"]]
        )
        yield Told(
            event_id=delivery.event_id,
            type=delivery.event["type"],
            page_id=page_id,
            taken=delivery.done,
        )


def _letters(smtp: Smtp, order_ids: Iterable[str], zero: float) -> Iterator[Letter]:
    sorts = {
        derived_id("mail", order_id, sort.value): (order_id, sort.value)
        for order_id in order_ids
        for sort in MailSort
    }
    for delivery in smtp.deliveries:
        order_id, sort = sorts.get(delivery.message_id.partition("@")[0], ("", ""))
        yield Letter(
            message_id=delivery.message_id,
            order_id=order_id,
            sort=sort,
            to=", ".join(delivery.to),
            at=delivery.at - zero,
            answered=delivery.answered,
        )


# reports -------------------------------------------------------------------------------------------


def _reports(jobs: Sequence[JobRow], artifacts: Path) -> list[Report]:
    found = []
    for job in jobs:
        if job.status == "completed" and isinstance(job.output, dict) and "sha256" in job.output:
            told = job.output
            found.append(
                Report(
                    job_id=job.job_id,
                    told=File(sha256=told["sha256"], size=told["size_bytes"], pages=told["pages"]),
                    stored=_file(artifacts / key_of(told["sha256"])),
                )
            )
    return found


def _file(path: Path) -> File | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return File(sha256=hashlib.sha256(content).hexdigest(), size=len(content), pages=_pages_of(content))


def _pages_of(content: bytes) -> int | None:
    if not content.startswith(b"%PDF-"):
        return None
    try:
        with pikepdf.open(io.BytesIO(content)) as document:
            # Each page, for a damaged one is noticed when it is read.
            return sum(bool(page.mediabox) and page.Contents is not None for page in document.pages)
    except (pikepdf.PdfError, AttributeError):
        return None


# what nobody may read ------------------------------------------------------------------------------


def _secrets(street: HighStreet) -> Mapping[str, str]:
    """Return what must be in no log, with what to call it."""
    found = {SECRET: "the service's secret", API_KEY: "a key", WEBHOOK_SECRET: "a webhook's secret"}
    found |= dict.fromkeys(street.tokens.values(), "an order's token")
    for visit in street.visits:
        found[visit.customer.email] = "an e-mail address"
        found[visit.customer.name] = "a name"
    return found


def _leaks(stage: Stage, shown: Sequence[Any], secrets: Mapping[str, str]) -> list[Leak]:
    known = re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))))
    found = []
    for life in stage.fleet.lives:
        for number, line in enumerate(life.log.read_text(errors="replace").splitlines(), start=1):
            if (hit := known.search(line)) is not None:
                found.append(Leak(log=life.log.name, line=number, what=secrets[hit[0]]))
            elif _TOKEN.search(line):
                found.append(Leak(log=life.log.name, line=number, what="a token"))
    for number, (job_id, what, text) in enumerate(shown, start=1):
        if (hit := known.search(bytes(text).decode(errors="replace"))) is not None:
            found.append(Leak(log=f"{what} of {job_id}", line=number, what=secrets[hit[0]]))
    return found
