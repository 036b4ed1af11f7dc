"""Stripe's events as its documentation has them, its variants, and anything else that comes."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.apps.reports.orders.payments.events import EVENT_TYPES, read_event, tell_session
from holdfast.apps.reports.orders.payments.forms import Purchase
from holdfast.errors import InvalidInputError
from holdfast.ids import derived_id
from holdfast.store.orders import Order, PaymentEvent, PaymentNews, what_becomes_of

AT = datetime(2030, 1, 1, tzinfo=UTC)
ORDER = Order(
    order_id="order_1",
    product="life_clarity",
    amount_cents=1999,
    currency="usd",
    subject="customer_1",
    details=b"{}",
    created_at=AT,
    session_id="cs_1",
)
PAID = what_becomes_of(ORDER, PaymentEvent(event_id="evt_0", news=PaymentNews.PAID), AT)


def event(event_type, about, event_id="evt_1"):
    return json.dumps({"id": event_id, "object": "event", "type": event_type, "data": {"object": about}})


def session(**fields):
    return {
        "id": "cs_1",
        "object": "checkout.session",
        "client_reference_id": "order_1",
        "metadata": {"order_id": "order_1"},
        "payment_intent": "pi_1",
        "payment_status": "paid",
        "amount_total": 1999,
        **fields,
    }


def read(event_type, about):
    return read_event(event(event_type, about).encode())


@pytest.mark.parametrize(
    ("event_type", "status", "news", "cents"),
    [
        ("checkout.session.completed", "paid", "paid", 1999),
        ("checkout.session.completed", "no_payment_required", "paid", 1999),
        ("checkout.session.completed", "unpaid", "processing", None),
        ("checkout.session.async_payment_succeeded", "paid", "paid", 1999),
        ("checkout.session.async_payment_failed", "unpaid", "failed", None),
        ("checkout.session.expired", "unpaid", "expired", None),
    ],
)
def test_event_of_a_page_is_told_as_news(event_type, status, news, cents):
    assert read(event_type, session(payment_status=status)) == PaymentEvent(
        event_id="evt_1",
        news=PaymentNews(news),
        order_id="order_1",
        session_id="cs_1",
        payment_id="pi_1",
        paid_cents=cents,
    )


@pytest.mark.parametrize("cents", [500, 1999])
def test_refund_tells_what_was_given_back_in_sum(cents):
    charge = {
        "id": "ch_1",
        "amount_refunded": cents,
        "payment_intent": "pi_1",
        "metadata": {"order_id": "order_1"},
    }

    assert read("charge.refunded", charge) == PaymentEvent(
        event_id="evt_1",
        news=PaymentNews.REFUNDED,
        order_id="order_1",
        payment_id="pi_1",
        refunded_cents=cents,
    )


def test_objects_are_read_where_ids_are_expected():
    told = read("checkout.session.completed", session(payment_intent={"id": "pi_9", "amount": 1}))
    refund = read("charge.refunded", {"amount_refunded": 1, "payment_intent": {"id": "pi_9"}})

    assert told.payment_id == "pi_9"
    assert (refund.payment_id, refund.order_id) == ("pi_9", None)


@pytest.mark.parametrize(
    ("fields", "order_id"),
    [
        ({"metadata": None}, None),
        ({"metadata": {}, "client_reference_id": "order_1"}, None),
        ({"metadata": {"order_id": 7}}, None),
        ({"metadata": {"order_id": "Bestellung\n\u0000"}}, None),
        ({"metadata": {"order_id": "order_2"}}, "order_2"),
    ],
)
def test_order_is_who_the_metadata_name_and_nobody_else(fields, order_id):
    """Whoever opens a payment link of the same account chooses its `client_reference_id`."""
    assert read("checkout.session.completed", session(**fields)).order_id == order_id


def test_fields_of_other_versions_may_be_missing():
    told = read("checkout.session.expired", {"id": "cs_1"})

    assert told == PaymentEvent(event_id="evt_1", news=PaymentNews.EXPIRED, session_id="cs_1")


@pytest.mark.parametrize(
    "body",
    [
        event("payment_intent.succeeded", {"id": "pi_1"}),
        event("refund.updated", {"id": "re_1", "amount": 5, "payment_intent": "pi_1"}),
        '{"id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.no_meter_found"}',
    ],
)
def test_events_of_other_things_tell_nothing(body):
    assert read_event(body.encode()) is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        "[" * 100_000,
        json.dumps({"type": "charge.refunded", "data": {"object": {}}}),
        event("charge.refunded", {"amount_refunded": "all"}),
        event("charge.refunded", {"amount_refunded": -1}),
        event("charge.refunded", {"amount_refunded": True}),
        event("charge.refunded", "ch_1"),
        event("checkout.session.completed", session(payment_status="perhaps")),
        event("checkout.session.completed", session(id=None)),
        event("checkout.session.completed", session(), event_id="evt_\u0000"),
        event("checkout.session.completed", session(amount_total=2**60)),
    ],
)
def test_event_of_no_known_form_is_refused_so_that_it_is_seen(body):
    with pytest.raises(InvalidInputError, match=r"an event of Stripe's cannot be read") as caught:
        read_event(body.encode())

    assert "perhaps" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
READ = (
    "id metadata payment_intent payment_status amount_total client_reference_id amount_refunded"
).split()
fields = st.fixed_dictionaries(
    {},
    optional={
        name: json_values | st.sampled_from([1999, "paid", "cs_1", {"order_id": "order_1"}])
        for name in READ
    },
)
events = st.builds(
    lambda event_id, event_type, about: json.dumps(
        {"id": event_id, "type": event_type, "data": {"object": about}}
    ).encode(),
    json_values | st.just("evt_1"),
    st.sampled_from(EVENT_TYPES) | st.text(),
    fields | json_values,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()) | events)
@example(b'{"id": "e", "type": "charge.refunded", "data": NaN}')
def test_whatever_comes_is_read_or_refused(body):
    """Nothing else is raised, and what is read can be stored by every database."""
    try:
        told = read_event(body)
    except InvalidInputError:
        return

    if told is not None:
        texts = (told.event_id, told.order_id, told.session_id, told.payment_id)
        numbers = (told.paid_cents, told.refunded_cents)
        assert all(text is None or (text.isascii() and text.isprintable()) for text in texts)
        assert all(number is None or 0 <= number < 2**63 for number in numbers)


# --- looking a page up ---------------------------------------------------------------------


def looked_up(**fields):
    purchase = Purchase(
        session_id="cs_1",
        payment_id="pi_1",
        amount_cents=1999,
        currency="usd",
        created_at=0,
        expires_at=1,
        **fields,
    )
    return purchase.session(expand=True)


DONE = {"status": "complete"}
MONEY = {**DONE, "payment_status": "paid"}


@pytest.mark.parametrize(
    ("order", "fields", "news"),
    [
        (ORDER, {}, None),
        (ORDER, {"status": "expired"}, "expired"),
        (ORDER, DONE, "processing"),
        (ORDER, {**DONE, "refused": True}, "failed"),
        (ORDER, MONEY, "paid"),
        (ORDER, {**MONEY, "refunded_cents": 500}, "paid"),
        (PAID, {**MONEY, "refunded_cents": 500}, "refunded"),
        (ORDER, {**MONEY, "refunded_cents": 1999}, "refunded"),
    ],
)
def test_page_that_is_looked_up_tells_what_the_order_has_to_hear_next(order, fields, news):
    told = tell_session(looked_up(**fields), order)

    assert (told and told.news) == news
    if told is not None:
        assert (told.order_id, told.session_id) == ("order_1", "cs_1")
        assert told == tell_session(looked_up(**fields), order)


def test_events_of_looking_up_differ_by_what_they_tell():
    looks = [tell_session(looked_up(**MONEY, refunded_cents=cents), PAID) for cents in (0, 1, 2)]

    told = [look for look in looks if look is not None]
    assert [look.refunded_cents for look in told] == [None, 1, 2]
    assert len({look.event_id for look in told}) == 3
    assert told[0].event_id == derived_id("look", "order_1", "cs_1", "paid", "0")


def test_page_of_no_known_form_is_refused():
    with pytest.raises(InvalidInputError, match="order 'order_1'"):
        tell_session({"id": "cs_1", "status": "odd"}, ORDER)
