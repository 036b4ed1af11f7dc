"""`holdfast orders`: what operators type, against a real store and jobs that have run."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import TYPE_CHECKING, Any, get_args

import pytest

from holdfast.apps.reports.astro import BirthData
from holdfast.apps.reports.models import ReportRequest
from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.models import MailSort, OrderDetails, customer_of
from holdfast.apps.reports.orders.shop import Shop
from holdfast.cli.exits import ExitStatus
from holdfast.cli.orders import MailName, PaymentName
from holdfast.store.orders import Payment, PaymentEvent, PaymentNews
from tests.cli import sample_shop
from tests.cli.conftest import Command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.store.orders import Order

EMAIL = "ada@customers.example"
PERSONAL = (EMAIL, "Ada Lovelace", "1815", "12-10", "Marylebone")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch):
    monkeypatch.setattr(sample_shop.app, "_settings", None)
    monkeypatch.setattr(sample_shop.app, "_enlister", None)


@pytest.fixture
def shop(holdfast) -> Command:
    """Run a command line of the application with a shop."""
    return lambda *arguments: holdfast("--app", "tests.cli.sample_shop:app", *arguments)


def at_the_shop(act: Callable[[Shop], Awaitable[Any]], *, work: bool = True) -> Any:
    """Do something with the shop, and have all jobs done that came of it."""

    async def run() -> Any:
        async with sample_shop.app.resources() as found:
            shop = found[Shop]
            assert isinstance(shop, Shop)
            given = await act(shop)
        if work:
            await _work()
        return given

    return asyncio.run(run())


async def _work() -> None:
    async with sample_shop.app.worker() as client:
        for job in await client.list():
            await client.wait(job.job_id)


def details(email: str, name: str) -> OrderDetails:
    birth = BirthData(name=name, birth_date=date(1815, 12, 10), place="Marylebone")
    return OrderDetails(email=email, request=ReportRequest(birth=birth, start=date(2026, 5, 20)))


def order(
    product: str = "life_clarity",
    *,
    email: str = EMAIL,
    name: str = "Ada Lovelace",
    pay: bool = True,
    work: bool = True,
) -> str:
    """Place an order, pay it, have it made, and return its id."""

    async def place(shop: Shop) -> str:
        placed = (await desk.open_order(shop, product, details(email, name))).order
        if pay:
            await desk.take_event(shop, paid(placed))
        return placed.order_id

    found: str = at_the_shop(place, work=pay and work)
    return found


def paid(placed: Order) -> PaymentEvent:
    return PaymentEvent(
        event_id=f"evt_{placed.order_id}",
        news=PaymentNews.PAID,
        order_id=placed.order_id,
        session_id=placed.session_id,
        payment_id=f"pi_{placed.order_id}",
        paid_cents=placed.amount_cents,
    )


def shown(shop: Command, order_id: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shop("orders", "show", order_id, "--json", *options).out)
    return found


# looking -----------------------------------------------------------------------------------------


def test_table_of_orders_tells_status_and_price_and_nothing_personal(shop):
    ready, waiting = order(), order("personal_horoscope", pay=False)
    other = order("personal_blueprint", email="other@customers.example")

    table = shop("orders", "list")
    of_one = shop("orders", "list", "--email", EMAIL.upper())

    assert table.status == ExitStatus.OK
    rows = {line.split()[0]: line for line in table.out.splitlines()[1:]}
    assert list(rows) == [other, waiting, ready]
    assert "ready" in rows[ready]
    assert "$19.99" in rows[ready]
    assert "payment awaited" in rows[waiting]
    assert other not in of_one.out
    assert ready in of_one.out
    for word in PERSONAL:
        assert word not in table.out + of_one.out


def test_ids_are_shown_in_full_on_a_narrow_terminal(shop, monkeypatch):
    order_id = order("personal_horoscope", pay=False)
    monkeypatch.setenv("COLUMNS", "80")

    assert order_id in shop("orders", "list").out
    assert order_id in shop("orders", "show", order_id).out


def test_list_is_narrowed_by_product_payment_and_page(shop):
    ready, waiting = order(), order("bundle", pay=False)

    def ids(*options: str) -> list[str]:
        return [one["order_id"] for one in json.loads(shop("orders", "list", "--json", *options).out)]

    assert ids("--product", "bundle") == [waiting]
    assert ids("--payment", "paid") == [ready]
    assert ids("--before", waiting) == [ready]
    assert ids("--limit", "1") == [waiting]
    assert f"--before {waiting}" in shop("orders", "list", "--limit", "1").err
    assert shop("orders", "list", "--product", "none").out == ""


def test_page_of_an_order_tells_payment_reports_and_e_mails(shop):
    order_id = order()

    page = shop("orders", "show", f"pi_{order_id}")
    told = shown(shop, order_id)

    assert page.status == ExitStatus.OK
    for words in ("Life Clarity  ready", "paid", "$19.99", f"pi_{order_id}", "confirmation  sent"):
        assert words in page.out
    assert (told["status"], told["payment"], told["paid_cents"]) == ("ready", "paid", 1999)
    assert [(one["sort"], one["status"]) for one in told["emails"]] == [
        ("confirmation", "sent"),
        ("ready", "sent"),
    ]
    [report] = told["reports"]
    assert (report["job_status"], report["pages"]) == ("completed", 20)
    assert "details" not in told
    for word in PERSONAL:
        assert word not in page.out + json.dumps(told)


def test_personal_details_are_shown_where_they_are_asked_for(shop):
    order_id = order(pay=False)

    page = shop("orders", "show", order_id, "--details").out
    told = shown(shop, order_id, "--details")

    for word in PERSONAL:
        assert word in page
        assert word in json.dumps(told["details"])


def test_refused_e_mail_is_told_with_its_reason(shop):
    order_id = order(email="gone@bounces.example")

    page = shop("orders", "show", "gone@bounces.example").out

    assert page.count("undelivered") == 2
    assert "mail_refused" in page
    assert shown(shop, order_id)["status"] == "ready"


# helping on --------------------------------------------------------------------------------------


def test_failed_order_is_made_from_where_it_failed(shop, monkeypatch):
    order_id = order(name=sample_shop.CURSED)
    failed = shop("orders", "show", order_id).out
    monkeypatch.setattr(sample_shop, "CURSED", "")

    retried = shop("orders", "retry", order_id)
    asyncio.run(_work())

    assert f"holdfast orders retry {order_id}" in failed
    assert retried.status == ExitStatus.OK
    told = shown(shop, order_id)
    assert told["status"] == "ready"
    assert [one["sort"] for one in told["emails"]] == ["confirmation", "failed", "ready"]
    assert shop("orders", "retry", order_id).status == ExitStatus.CONFLICT


def test_e_mail_is_sent_again_on_demand(shop):
    order_id = order()

    resent = shop("orders", "resend", order_id, "ready")
    asyncio.run(_work())

    assert resent.status == ExitStatus.OK
    again = [one for one in shown(shop, order_id)["emails"] if one["again"]]
    assert [(one["sort"], one["status"]) for one in again] == [("ready", "sent")]
    assert shop("orders", "resend", order(pay=False), "ready").status == ExitStatus.CONFLICT


def test_refund_is_flagged_and_says_where_the_money_is_given_back(shop):
    order_id = order()

    flagged = shop("orders", "refunded", order_id, "--note", "twice by mistake")

    assert flagged.status == ExitStatus.OK
    assert "Stripe" in flagged.out
    told = shown(shop, order_id)
    assert (told["status"], told["refunded_cents"]) == ("refunded", 1999)
    assert told["note"] == "twice by mistake"
    assert shop("orders", "retry", order_id).status == ExitStatus.CONFLICT
    assert shop("orders", "refunded", order(pay=False)).status == ExitStatus.CONFLICT


def test_note_is_kept_shown_and_removed(shop):
    order_id = order(pay=False)

    shop("orders", "note", order_id, "called twice")
    kept = shown(shop, order_id)["note"]
    shop("orders", "note", order_id, "")

    assert (kept, shown(shop, order_id)["note"]) == ("called twice", None)
    assert shop("orders", "note", order_id, "x" * 3_000).status == ExitStatus.USAGE


def test_check_takes_what_the_payment_service_could_not_tell(shop, monkeypatch):
    order_id = order(pay=False)
    nothing = shop("orders", "check", order_id)

    placed = at_the_shop(lambda shop: desk.require_order(shop, order_id), work=False)
    monkeypatch.setattr(sample_shop.Payments, "news", paid(placed))
    news = json.loads(shop("orders", "check", order_id, "--json").out)
    again = shop("orders", "check", order_id)

    assert "nothing new, its payment is awaited" in nothing.out
    assert (news["taken"], news["payment"]) == ("applied", "paid")
    assert "nothing new, its payment is paid" in again.out
    assert news["job_id"].startswith("job_")


# a customer --------------------------------------------------------------------------------------


def test_export_writes_all_of_a_customer_and_nobody_else_s(shop, tmp_path):
    order_id, other = order(), order(email="other@customers.example", name="Somebody Else")
    folder = tmp_path / "ada"

    written = shop("orders", "export", EMAIL, "--out", str(folder))

    assert written.status == ExitStatus.OK, written.err
    assert "1 order, 2 jobs" in written.err
    [record] = json.loads((folder / "orders.json").read_text())
    assert (record["order_id"], record["details"]["email"]) == (order_id, EMAIL)
    jobs = [json.loads(path.read_text()) for path in (folder / "jobs").iterdir()]
    assert {job["kind"] for job in jobs} == {"order", "life_clarity"}
    assert any("Ada Lovelace" in json.dumps(job["input"]) for job in jobs)
    assert [path.read_bytes() for path in folder.glob("files/*/*")] == [sample_shop.PDF]
    everything = "".join(path.read_text() for path in folder.rglob("*.json"))
    assert other not in everything
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*") if path.is_file())
    again = shop("orders", "export", EMAIL, "--out", str(folder))
    assert again.status == ExitStatus.USAGE


def test_erase_leaves_nothing_of_a_customer_in_store_or_outbox(shop, tmp_path):
    order_id, other = order(), order(email="other@customers.example", name="Somebody Else")
    asked = shop("orders", "erase", EMAIL)

    erased = shop("orders", "erase", EMAIL, "--yes", "--wait", "0", "--json")

    told = json.loads(erased.out)
    assert asked.status == ExitStatus.FAILED
    assert "Erase 1 order and 2 jobs" in asked.err
    assert told["orders"] == [order_id]
    assert (len(told["jobs"]), told["orders_left"], told["jobs_left"]) == (2, [], [])
    # The other customer's report is the same file.
    assert (erased.status, told["files_left"]) == (ExitStatus.OK, [])
    assert shop("orders", "show", order_id).status == ExitStatus.NOT_FOUND
    assert shown(shop, other)["status"] == "ready"
    home = tmp_path / ".holdfast"
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    for word in PERSONAL[:2]:
        assert word.encode() not in kept


def test_subject_commands_work_on_a_customer_s_jobs(shop, holdfast, tmp_path):
    order_id = order()
    subject = customer_of(EMAIL)

    written = holdfast("subject", "export", subject, "--out", str(tmp_path / "a.zip"))
    holdfast("subject", "erase", subject, "--yes", "--wait", "0")

    assert "2 jobs" in written.err
    left = shown(shop, order_id)
    assert (left["job_status"], left["status"], left["subject"]) == (None, "ready", subject)


# what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("show", "ord_x"),
        ("retry", "ord_x"),
        ("erase", EMAIL),
    ],
)
def test_application_without_a_shop_says_so(sample, command):
    ended = sample("orders", *command)

    assert ended.status == ExitStatus.CONFIGURATION
    assert "no shop is open" in ended.err
    assert "HOLDFAST_SHOP" in ended.err


def test_orders_are_looked_after_where_the_store_is(shop, monkeypatch):
    monkeypatch.setenv("HOLDFAST_URL", "http://127.0.0.1:9")

    ended = shop("orders", "list")

    assert ended.status == ExitStatus.CONFIGURATION
    assert "'holdfast orders list' works on the store itself" in ended.err


@pytest.mark.parametrize("verb", ["show", "retry", "check", "refunded"])
def test_unknown_order_is_not_found(shop, verb):
    ended = shop("orders", verb, "ord_unknown")

    assert ended.status == ExitStatus.NOT_FOUND
    assert "order 'ord_unknown' does not exist" in ended.err


def test_unknown_address_is_not_repeated(shop):
    ended = shop("orders", "show", "nobody@customers.example")

    assert ended.status == ExitStatus.NOT_FOUND
    assert "nobody@" not in ended.err


def test_choices_of_the_command_line_are_those_of_the_store():
    assert set(get_args(PaymentName)) == set(Payment)
    assert set(get_args(MailName)) == set(MailSort)
