"""The auditor of orders finds what is wrong: each test shows it one thing that must not be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.ids import child_id
from holdfast.testing.chaos.books import Asked, Books, Happening, JobRow, Process
from holdfast.testing.soak.auditor import audit, letters_repeated
from holdfast.testing.soak.books import (
    Customer,
    File,
    Leak,
    Letter,
    Noted,
    OrderRow,
    Page,
    Phase,
    Report,
    ShopBooks,
    Told,
    Visit,
    Way,
)

PRICES = {"clarity": 1999, "bundle": 9999}
BUNDLE, BACK = "job_bundle", "job_back"
REPORTS = {BUNDLE: child_id(BUNDLE, "report"), BACK: child_id(BACK, "report")}
PART = child_id(REPORTS[BUNDLE], "clarity")
PDF = File(sha256="ab", size=999, pages=20)
WORKER = Process(
    name="worker orders.1", worker_ids=("worker_a",), began=0.0, ended=9.5, status=0,
    told=(("SIGTERM", 9.0),),
)  # fmt: skip


def good_books() -> ShopBooks:
    """A bundle that was paid, an order that nobody paid, one that was given back when it was ready."""
    books = ShopBooks(
        work=Books(submitted={}, drain_seconds=10.0, processes=[WORKER]),
        parts={"bundle": ("clarity",)},
        prices=PRICES,
    )
    order(books, 1, "bundle", Way.CARD, status="ready", job_id=BUNDLE)
    order(books, 2, "clarity", Way.ABANDONED, status="pending_payment", payment="expired")
    order(books, 3, "clarity", Way.REFUND_AFTER, status="refunded", payment="refunded", job_id=BACK)
    books.orders[2] = replace(books.orders[2], refunded=1999, refunded_at=8.0)
    books.pages[2] = replace(books.pages[2], refunded=1999, refunds=1)
    tell(books, "evt_back", 3, "charge.refunded")
    for job_id, kind, name in (
        (BUNDLE, "order", "ord_1"), (REPORTS[BUNDLE], "bundle", ""), (PART, "clarity", ""),
        (BACK, "order", "ord_3"), (REPORTS[BACK], "clarity", ""),
    ):  # fmt: skip
        work(books, job_id, kind, name)
    for job_id in (PART, REPORTS[BACK]):
        books.reports.append(Report(job_id=job_id, told=PDF, stored=PDF))
    books.visits[0].files = {"clarity": PDF.sha256}
    return books


def order(
    books: ShopBooks, number: int, product: str, way: Way, *, status: str, payment: str = "paid",
    job_id: str | None = None,
) -> None:  # fmt: skip
    customer = Customer(
        number=number, phase=Phase.KILLS, product=product, way=way, name="N", born="B", place="P",
        email=f"{number}@example.com",
    )  # fmt: skip
    order_id, page_id, price = f"ord_{number}", f"cs_{number}", PRICES[product]
    paid = price if job_id else 0
    books.visits.append(
        Visit(customer=customer, order_ids={order_id}, page_ids={page_id}, status=status)
    )
    books.pages.append(Page(page_id=page_id, order_id=order_id, amount=price, paid=paid, refunded=0))
    books.orders.append(
        OrderRow(
            order_id=order_id, product=product, amount=price, payment=payment, page_id=page_id,
            paid=paid or None, paid_at=1.0 if paid else None, job_id=job_id,
        )
    )  # fmt: skip
    tell(books, f"evt_{number}", number, "checkout.session.completed")
    for at, sort in enumerate(("confirmation", "ready") if paid else (), start=2):
        books.letters.append(
            Letter(
                message_id=f"{order_id}.{sort}", order_id=order_id, sort=sort, to=customer.email,
                at=float(at), answered=True,
            )
        )  # fmt: skip


def tell(books: ShopBooks, event_id: str, number: int, kind: str) -> None:
    books.told.append(Told(event_id=event_id, type=kind, page_id=f"cs_{number}", taken=True))
    books.noted.append(Noted(event_id=event_id, order_id=f"ord_{number}", outcome="applied"))


def work(books: ShopBooks, job_id: str, kind: str, name: str) -> None:
    told = [("job.queued", ""), ("attempt.started", "worker_a"), ("job.completed", "")]
    books.work.events += [
        Happening(job_id=job_id, seq=seq, type=type_, at=float(seq), epoch=1, worker_id=worker_id)
        for seq, (type_, worker_id) in enumerate(told, start=1)
    ]
    books.work.jobs.append(
        JobRow(job_id=job_id, kind=kind, asked=Asked(name=name), status="completed", event_seq=3)
    )


def change(rows: list[Any], number: int, **changes: object) -> None:
    rows[number] = replace(rows[number], **changes)


def arrive_again(books: ShopBooks, message_id: str = "ord_1.confirmation") -> None:
    books.letters.append(replace(books.letters[0], at=6.0, message_id=message_id))


def strike_early(books: ShopBooks) -> None:
    books.work.processes = [replace(WORKER, blows=((1.5, 1.5),))]
    arrive_again(books)


def end(books: ShopBooks, number: int, status: str) -> None:
    job = books.work.jobs[number]
    books.work.jobs[number] = replace(job, status=status)
    for at, event in enumerate(books.work.events):
        if event.job_id == job.job_id and event.type == "job.completed":
            books.work.events[at] = replace(event, type=f"job.{status}")


def test_auditor_finds_nothing_in_books_that_agree():
    assert audit(good_books()) == []


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda b: b.visits[0].order_ids.add("ord_2"), "customer 1 (card) was told of 2 orders"),
        (lambda b: b.visits[0].order_ids.add("ord_2"), "ord_2 belongs to 2 customers"),
        (lambda b: b.visits[0].page_ids.add("cs_9"), "was led to 2 payment pages"),
        (lambda b: b.orders.pop(1), "was told of ord_2, which is not there"),
        (lambda b: b.visits.pop(1), "ord_2 is there and nobody was told of it"),
        (lambda b: change(b.orders, 0, product="clarity"), "is for clarity, ordered was bundle"),
        (lambda b: change(b.orders, 0, amount=9998), "ord_1 costs 9998, the price is 9999"),
        (lambda b: change(b.pages, 0, amount=9998), "ord_1 costs 9999, its page says 9998"),
        (lambda b: change(b.orders, 0, payment="awaited"), "ord_1 (card) is awaited instead of paid"),
        (lambda b: change(b.orders, 1, payment="paid"), "(abandoned) is paid instead of expired"),
        (lambda b: setattr(b.visits[0], "status", "paid"), "told to be 'paid' instead of 'ready'"),
        (lambda b: change(b.pages, 0, paid=0), "ord_1 (card) was paid on 0 pages"),
        (lambda b: change(b.pages, 1, paid=1999), "ord_2 (abandoned) was paid on 1 pages"),
        (lambda b: change(b.orders, 0, page_id="cs_9"), "has page cs_9, of which"),
        (lambda b: change(b.orders, 0, page_id="cs_9"), "was paid on page cs_1, not on its own cs_9"),
        (lambda b: change(b.orders, 0, paid=99), "has recorded 99 paid, the payment service has 9999"),
        (lambda b: change(b.orders, 0, paid_at=None), "ord_1 has recorded 9999 paid"),
        (lambda b: change(b.orders, 2, refunded=0), "has recorded 0 given back, it was 1999"),
        (lambda b: change(b.pages, 2, refunds=2), "ord_3 was given back 2 times"),
        (lambda b: change(b.told, 0, taken=False), "evt_1 (checkout.session.completed) was never"),
        (lambda b: b.noted.pop(0), "evt_1 (checkout.session.completed) is not noted"),
        (lambda b: change(b.noted, 0, outcome="foreign"), "evt_1 (checkout.session.completed) of ord_1"),
        (lambda b: change(b.noted, 0, order_id="ord_2"), "is noted as applied for ord_2"),
        (lambda b: b.told.pop(0), "event evt_1 is noted, and nobody has told it"),
        (lambda b: change(b.orders, 0, paid=1), "2000 cents were paid by the orders, 11998 by"),
        (lambda b: change(b.orders, 2, refunded=1), "1 cents were given back by the orders, 1999 by"),
        (lambda b: work(b, "job_more", "order", "ord_1"), "ord_1 (card) is served by 2 jobs"),
        (lambda b: work(b, "job_more", "order", "ord_2"), "ord_2 (abandoned) is served by 1 jobs"),
        (lambda b: work(b, "job_more", "order", "ord_9"), "1 jobs serve ord_9, which nobody"),
        (lambda b: b.work.jobs.pop(0), "ord_1 (card) is served by 0 jobs"),
        (lambda b: change(b.orders, 0, job_id="job_x"), "is served by job_bundle, it says job_x"),
        (lambda b: end(b, 0, "failed"), "ord_1 (card): job_bundle is failed"),
        (lambda b: b.work.jobs.pop(2), f"{PART} should be clarity and is not there"),
        (lambda b: change(b.work.jobs, 2, kind="tarot"), "should be clarity and is tarot, completed"),
        (lambda b: end(b, 2, "cancelled"), "should be clarity and is clarity, cancelled"),
        (lambda b: b.reports.pop(0), f"there is no report by {PART} (clarity)"),
        (lambda b: b.reports.append(b.reports[0]), "1 jobs have more than one report"),
        (lambda b: change(b.reports, 0, job_id="job_x"), "job_x has made a report that nobody"),
        (lambda b: change(b.reports, 0, stored=None), f"{PART} tells of File(sha256='ab', size=999"),
        (lambda b: change(b.reports, 0, stored=replace(PDF, pages=None)), "pages=None)"),
        (lambda b: change(b.reports, 0, stored=replace(PDF, sha256="cd")), "sha256='cd'"),
        (lambda b: b.visits[0].files.clear(), "ord_1: as clarity the customer got None, not ab"),
        (lambda b: b.visits[2].files.update(clarity="ab"), "ord_3: as clarity the customer got ab, not"),
        (lambda b: b.letters.pop(1), "ord_1 (card): the ready e-mail never arrived"),
        (lambda b: change(b.letters, 0, order_id="ord_2"), "ord_2 (abandoned): an e-mail of sort"),
        (lambda b: change(b.letters, 0, sort="failed"), "ord_1 (card): an e-mail of sort 'failed'"),
        (lambda b: change(b.letters, 0, order_id=""), "e-mail ord_1.confirmation belongs to no order"),
        (lambda b: change(b.letters, 0, to="x@example.com"), "confirmation e-mail went to somebody"),
        (lambda b: change(b.letters, 3, at=12.0), "ready e-mail arrived 4.0 s after it was given back"),
        (arrive_again, "the confirmation e-mail came again at 6.0 s, though the one of 2.0 s was"),
        (lambda b: arrive_again(b, "x"), "of sort 'confirmation' have different ids"),
        (strike_early, "its worker was not struck in between"),
        (
            lambda b: b.leaks.append(Leak(log="serve.1.log", line=7, what="an e-mail address")),
            "line 7 of serve.1.log holds an e-mail address",
        ),
        (lambda b: b.work.files_unknown.append("ab/cd"), "file ab/cd in artifact storage"),
    ],
)
def test_auditor_finds_what_is_wrong(wrong: Callable[[ShopBooks], object], found: str):
    books = good_books()

    wrong(books)

    findings = audit(books)
    assert any(found in finding for finding in findings), findings


def kill_in_between(books: ShopBooks) -> None:
    told = (("SIGKILL", 4.0),)
    books.work.processes = [
        replace(WORKER, ended=4.0, status=-9, told=told, blows=((4.0, 4.0),)),
    ]
    arrive_again(books)


def lose_the_answer(books: ShopBooks) -> None:
    change(books.letters, 0, answered=False)
    arrive_again(books)


@pytest.mark.parametrize("reason", [kill_in_between, lose_the_answer])
def test_email_may_come_again_for_a_reason(reason: Callable[[ShopBooks], None]):
    books = good_books()

    reason(books)

    assert audit(books) == []
    assert letters_repeated(books) == 1


def test_order_that_was_given_back_while_it_was_made_may_have_come_to_any_end():
    books = good_books()
    books.visits[2].customer = replace(books.visits[2].customer, way=Way.REFUND_RUNNING)
    assert audit(books) == []

    end(books, 3, "cancelled")
    del books.work.jobs[4], books.reports[1], books.letters[3]
    books.work.events = [event for event in books.work.events if event.job_id != REPORTS[BACK]]

    assert audit(books) == []


def test_order_that_was_given_back_before_its_email_was_sent_needs_none():
    """The page offers a report as soon as it is there."""
    books = good_books()

    own = next(job for job in books.work.jobs if job.job_id == BACK)
    books.work.jobs[books.work.jobs.index(own)] = replace(own, status="cancelled")
    books.work.events = [
        replace(event, type="job.cancelled")
        if (event.job_id, event.type) == (BACK, "job.completed")
        else event
        for event in books.work.events
    ]
    books.letters = [
        letter for letter in books.letters if (letter.order_id, letter.sort) != ("ord_3", "ready")
    ]

    assert audit(books) == []


def test_event_that_the_shop_has_asked_for_is_told_by_nobody():
    books = good_books()
    books.noted.append(Noted(event_id="look_1", order_id="ord_1", outcome="no_effect"))

    assert audit(books) == []
