"""Calls that have ended and could not be booked, for the store was in trouble just then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.scope import Booking


class Debts:
    """What an attempt owes the ledger: paid after the result of a step, or before the attempt ends."""

    __slots__ = ("_bookings", "_tell_paid")

    def __init__(self, tell_paid: Callable[[], None]) -> None:
        """Owe nothing.

        Args:
            tell_paid: Called after each booking: what its call had reserved and not used is free.
        """
        self._bookings: dict[str, Booking] = {}
        self._tell_paid = tell_paid

    def __bool__(self) -> bool:
        """Whether there is something to book."""
        return bool(self._bookings)

    def add(self, call_id: str, booking: Booking) -> None:
        """Take over the booking of a call; from any thread."""
        self._bookings[call_id] = booking

    async def pay(self) -> None:
        """Book all; what fails is still owed.

        Raises:
            StoreError: The store is in trouble still.
            LeaseLost: The attempt no longer owns the job; the calls stay uncertain.
        """
        for call_id, booking in list(self._bookings.items()):
            # Two branches may do the same: a call that is booked is not booked twice.
            await booking()
            self._bookings.pop(call_id, None)
            self._tell_paid()
