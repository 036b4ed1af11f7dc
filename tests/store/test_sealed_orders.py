"""Personal data in orders is sealed, and so is what their jobs are submitted with."""

from pathlib import Path

import pytest

from holdfast.errors import IdempotencyConflictError, SealedValueError
from holdfast.sealing import KEY_BYTES, Keyring
from holdfast.store.orders import OrderQuery, PaymentOutcome
from holdfast.store.sealed import SealedStore
from holdfast.testing.store_suite.orders import UNPAID_FOR, order, paid, refunded, work

MARK = "Zaphod Beeblebrox"
DETAILS = f'{{"name":"{MARK}"}}'.encode()
OLD = {"old": bytes(range(KEY_BYTES))}
NEW = {"new": bytes(range(1, KEY_BYTES + 1))} | OLD


def everything_in(folder: Path) -> bytes:
    """Return all bytes of the database: the file, its log and its index."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("holdfast.db*")))


async def test_no_personal_data_lies_in_the_database(lab, tmp_path: Path):
    store = await lab.open()
    orders = store.orders.sealed_by(Keyring(OLD))
    await orders.insert_order(order(details=DETAILS, note=MARK), unpaid_for=UNPAID_FOR)
    noted = await orders.set_note("order_1", f"{MARK} called")

    taken = await orders.take_payment(paid(), work(input=DETAILS))

    assert MARK.encode() not in everything_in(tmp_path)
    assert (noted.details, noted.note) == (DETAILS, f"{MARK} called")
    assert taken.order is not None
    assert (taken.order.details, taken.order.note) == (DETAILS, f"{MARK} called")
    assert taken.job is not None
    assert taken.job.input == DETAILS
    assert await SealedStore(store, Keyring(OLD)).get_job(taken.job.job_id) == taken.job
    cancelled = (await orders.take_payment(refunded(), None)).job
    assert cancelled is not None
    assert cancelled.input == DETAILS
    assert MARK.encode() in (await orders.list_orders(OrderQuery()))[0].details


async def test_order_and_job_are_recognised_under_another_key(lab):
    store = await lab.open()
    old, new = store.orders.sealed_by(Keyring(OLD)), store.orders.sealed_by(Keyring(NEW))
    await old.insert_order(order(details=DETAILS), unpaid_for=UNPAID_FOR)
    made = await SealedStore(store, Keyring(OLD)).insert_job(work(input=DETAILS))

    assert (await new.insert_order(order(details=DETAILS), unpaid_for=UNPAID_FOR)).details == DETAILS
    with pytest.raises(IdempotencyConflictError, match="'order_1' is on record"):
        await new.insert_order(order(details=b"1"), unpaid_for=UNPAID_FOR)
    with pytest.raises(IdempotencyConflictError, match="'cs_1'"):
        await new.take_payment(paid(), work(input=b"1"))
    taken = await new.take_payment(paid(), work(input=DETAILS))

    assert taken.order is not None
    assert (taken.order.job_id, taken.job) == (made.job.job_id, None)


async def test_money_is_noted_without_the_key(lab):
    """One order whose key is not here must neither hide the others nor lose its payment."""
    store = await lab.open()
    sealed, clear = store.orders.sealed_by(Keyring(OLD)), store.orders
    await sealed.insert_order(order(details=DETAILS), unpaid_for=UNPAID_FOR)
    await clear.insert_order(order(2, details=DETAILS), unpaid_for=UNPAID_FOR)

    with pytest.raises(SealedValueError):
        await clear.find_order("order_1")
    with pytest.raises(SealedValueError):
        await clear.insert_order(order(details=DETAILS), unpaid_for=UNPAID_FOR)
    listed = await clear.list_orders(OrderQuery())
    taken = await clear.take_payment(paid(), work())
    again = await sealed.take_payment(refunded(5), None)

    assert [each.details == DETAILS for each in listed] == [True, False]
    assert taken.outcome is again.outcome is PaymentOutcome.APPLIED
    assert again.order is not None
    assert (again.order.details, again.order.paid_cents) == (DETAILS, 1_900)


async def test_job_is_cancelled_without_its_key(lab):
    store = await lab.open()
    sealed = store.orders.sealed_by(Keyring(OLD))
    await sealed.insert_order(order(), unpaid_for=UNPAID_FOR)
    await sealed.take_payment(paid(), work(input=DETAILS))

    taken = await store.orders.take_payment(refunded(), None)

    assert taken.job is not None
    assert taken.job.status.terminal
    assert DETAILS not in taken.job.input
