"""Webhooks of the local Stripe: at least once, in whatever order, until somebody answers 2xx."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from holdfast.apps.reports.orders.payments.signatures import Signatures
from holdfast.codec import to_json

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from holdfast.clock import Clock

_TIMEOUT_SECONDS = 20.0
_AGAIN_SECONDS = 0.2


@dataclass(slots=True)
class Delivery:
    """An event on its way."""

    event: dict[str, Any]
    statuses: list[int | None] = field(default_factory=list)
    """What each try was answered with; None where nothing came back."""

    @property
    def event_id(self) -> str:
        """The event's id, the same in each try."""
        return str(self.event["id"])

    @property
    def done(self) -> bool:
        """Whether it was taken at least once."""
        return any(status is not None and 200 <= status < 300 for status in self.statuses)


class Courier:
    """Keeps all events, and brings them when told to."""

    def __init__(self, secret: str, clock: Clock) -> None:
        """Take what signs, and the clock that stamps the signatures."""
        self.url: str | None = None
        """Where to bring events."""
        self.deliveries: list[Delivery] = []
        """All that there ever were, in the order of what happened."""
        self._signatures = Signatures([secret], clock)
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)
        self._added = asyncio.Event()

    @property
    def pending(self) -> list[Delivery]:
        """Those that nobody has taken yet."""
        return [delivery for delivery in self.deliveries if not delivery.done]

    def add(self, event: dict[str, Any]) -> None:
        """Take an event to be delivered."""
        self.deliveries.append(Delivery(event))
        self._added.set()

    async def send(self, delivery: Delivery) -> int | None:
        """Try once, whether or not it was taken before; return the status, None without an answer."""
        if self.url is None:
            raise ValueError("set the courier's url before anything is sent")
        body = to_json(delivery.event)
        headers = {"Content-Type": "application/json", "Stripe-Signature": self._signatures.sign(body)}
        try:
            answer = await self._client.post(self.url, content=body, headers=headers)
            status = answer.status_code
        except httpx2.HTTPError:
            status = None
        delivery.statuses.append(status)
        return status

    async def deliver(
        self, *, chance: random.Random | None = None, copies_max: int = 1, rounds_max: int = 20
    ) -> None:
        """Bring all that is pending, and what is refused again and again.

        Args:
            chance: Shuffles each round, and draws how often each is sent; None for the order of what
                happened, `copies_max` times each.
            copies_max: How often one is sent in a round; copies come at once.
            rounds_max: After so many rounds what is still refused stays pending.
        """
        for _ in range(rounds_max):
            due = self.pending
            if not due:
                return
            if chance is not None:
                chance.shuffle(due)
            for delivery in due:
                copies = copies_max if chance is None else chance.randint(1, copies_max)
                await asyncio.gather(*(self.send(delivery) for _ in range(copies)))

    @contextlib.asynccontextmanager
    async def at_work(self, again_seconds: float = _AGAIN_SECONDS) -> AsyncIterator[None]:
        """Bring events as they come while the block lasts, refused ones again after a pause."""
        working = asyncio.create_task(self._work(again_seconds), name="stripe-courier")
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait((working,))

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aclose()

    async def _work(self, again_seconds: float) -> None:
        while True:
            self._added.clear()
            await self.deliver(rounds_max=1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again_seconds if self.pending else None):
                    await self._added.wait()
