"""The verbs of orders, on the connections of a `SqlStore`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.codec import is_storable
from holdfast.errors import OrderNotFoundError
from holdfast.sealing import Keyring
from holdfast.store import order_rows, payments
from holdfast.store.bounds import check_event, check_name, check_names, check_note, check_order
from holdfast.store.order_rows import open_order, shown
from holdfast.store.sealed_values import Sealer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import timedelta

    from holdfast.store.base import NewJob
    from holdfast.store.orders import Order, OrderQuery, PaymentEvent, Taken
    from holdfast.store.sql_service import Read, Write
    from holdfast.store.transaction import Dialect


class SqlOrderStore:
    """`holdfast.store.orders.OrderStore` beside the store of the same database.

    Where an order has to be read to go on – `find_order`, `find_order_of`, `insert_order` – what cannot
    be opened raises `SealedValueError`. A list, and the answer of a verb that has changed something,
    leaves it sealed: money that has come is noted by a process without the key, too.
    """

    def __init__(
        self,
        write: Write,
        read: Read,
        dialect: Dialect,
        scrub: Callable[[], Awaitable[None]],
        keyring: Keyring | None = None,
    ) -> None:
        """Share the connections of a store.

        Args:
            write: Runs an operation in a transaction of its own.
            read: Runs a query.
            dialect: Of their database.
            scrub: Leaves nothing behind of what was deleted.
            keyring: Seals personal data, and what jobs are submitted with, if it seals.
        """
        self._write = write
        self._read = read
        self._dialect = dialect
        self._scrub = scrub
        self._sealer = Sealer(keyring or Keyring())

    def sealed_by(self, keyring: Keyring) -> SqlOrderStore:
        """Return the same with personal data sealed by `keyring`."""
        return SqlOrderStore(self._write, self._read, self._dialect, self._scrub, keyring)

    async def insert_order(self, order: Order, *, unpaid_for: timedelta) -> Order:
        check_order(order)
        return await self._write(lambda tx: order_rows.insert_order(tx, order, unpaid_for, self._sealer))

    async def set_session(self, order_id: str, session_id: str) -> Order:
        _check_id(order_id)
        check_name("session id", session_id)
        order = await self._write(lambda tx: order_rows.set_session(tx, order_id, session_id))
        return shown(order, self._sealer)

    async def take_payment(self, event: PaymentEvent, job: NewJob | None) -> Taken:
        check_event(event, job)
        taken = await self._write(lambda tx: payments.take_payment(tx, event, job, self._sealer))
        order = taken.order and shown(taken.order, self._sealer)
        return replace(taken, order=order)

    async def find_order(self, order_id: str) -> Order | None:
        return await self._find("order_id", order_id)

    async def find_order_of(
        self, *, session_id: str | None = None, payment_id: str | None = None
    ) -> Order | None:
        found = None if session_id is None else await self._find("session_id", session_id)
        if found is None and payment_id is not None:
            found = await self._find("payment_id", payment_id)
        return found

    async def _find(self, column: str, value: str) -> Order | None:
        if not is_storable(value):
            return None
        order = await self._read(lambda connection: order_rows.find_order(connection, column, value))
        return order and open_order(order, self._sealer)

    async def list_orders(self, query: OrderQuery) -> Sequence[Order]:
        check_names(query)
        found = await self._read(
            lambda connection: order_rows.list_orders(connection, self._dialect, query)
        )
        return [shown(order, self._sealer) for order in found]

    async def set_outcome(self, order_id: str, outcome: str | None) -> None:
        if outcome is not None:
            check_name("outcome", outcome)
        if is_storable(order_id):
            await self._write(lambda tx: order_rows.set_outcome(tx, order_id, outcome))

    async def set_note(self, order_id: str, note: str | None) -> Order:
        _check_id(order_id)
        check_note(order_id, note)
        order = await self._write(lambda tx: order_rows.set_note(tx, order_id, note, self._sealer))
        return shown(order, self._sealer)

    async def erase_orders(self, subject: str) -> Sequence[str]:
        check_name("subject", subject)
        erased = await self._write(lambda tx: order_rows.erase_orders(tx, subject))
        if erased:
            await self._scrub()
        return erased


def _check_id(order_id: str) -> None:
    if not is_storable(order_id):
        raise OrderNotFoundError(order_id=order_id)
