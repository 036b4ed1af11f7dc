"""How an order changes, as it changes: driven by hints of its own and of its jobs, not by asking."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.apps.reports.orders.models import OrderStatus
from holdfast.apps.reports.orders.parts import report_job_id, sold_product
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.orders.state import OrderView, view_of
from holdfast.errors import SealedValueError, StoreError
from holdfast.server.service import Service
from holdfast.server.sse import END, HEARTBEAT, HELLO
from holdfast.store.hints import Hints
from holdfast.store.orders import Order

logger = logging.getLogger(__name__)

PACE_SECONDS: Final = 1.0
"""How often at most an order is looked at for one stream: its jobs may have news many times a second."""

ENDS: Final = frozenset({OrderStatus.READY, OrderStatus.FAILED, OrderStatus.REFUNDED})
"""Statuses after which nothing more is to be expected without an operator."""


def digest_of(view: OrderView) -> str:
    """Return what changes when an order does; the time that is left alone makes no change."""
    progress = view.progress and view.progress.model_copy(update={"eta_seconds": None})
    told = view.model_copy(update={"progress": progress}).model_dump_json()
    return hashlib.sha256(told.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """One client's stream of one order."""

    service: Service
    shop: Shop
    find: Callable[[], Awaitable[Order]]
    """Looks the order up for this client, who may not be allowed to see it any more."""
    known: str | None = None
    """Digest of the state that the client has."""

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield each state that differs from the one before, until one that is the last."""
        yield HELLO
        topics = _Topics(self.service.store.hints)
        with topics.open(), topics.woken_by(self.service.closing):
            async for frame in self._frames(topics):
                yield frame

    async def _frames(self, topics: _Topics) -> AsyncIterator[bytes]:
        known, closing = self.known, self.service.closing
        while not closing.is_set():
            topics.changed.clear()
            try:
                order = await self.find()
                topics.follow(topics_of(order))
                view = await view_of(self.shop, order)
            except SealedValueError:
                raise
            except StoreError as error:
                logger.info("stream of an order waits for the store", extra={"error": error.code})
                yield HEARTBEAT
                await self._rest(topics)
                continue
            digest = digest_of(view)
            if digest != known:
                yield f"id: {digest}\nevent: order\ndata: {view.model_dump_json()}\n\n".encode()
                known = digest
            if view.status in ENDS:
                yield END
                return
            if not await self._rest(topics):
                yield HEARTBEAT

    async def _rest(self, topics: _Topics) -> bool:
        """Wait for news, but not for longer than a stream may be silent; whether there are some."""
        await self.shop.clock.sleep(PACE_SECONDS)
        try:
            async with asyncio.timeout(self.service.options.heartbeat_seconds):
                await topics.changed.wait()
        except TimeoutError:
            return False
        return True


def topics_of(order: Order) -> frozenset[str]:
    """Return the ids of an order and of the jobs that serve it."""
    job_id = report_job_id(order)
    if order.job_id is None or job_id is None:
        return frozenset({order.order_id})
    parts = sold_product(order).part_job_ids(job_id).values()
    return frozenset({order.order_id, order.job_id, job_id, *parts})


class _Topics:
    """What is listened to, and whether there was anything."""

    def __init__(self, hints: Hints) -> None:
        self.changed = asyncio.Event()
        self._hints = hints
        self._topics: set[str] = set()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        try:
            yield
        finally:
            for topic in self._topics:
                self._hints.remove(topic, self.changed)

    def follow(self, topics: frozenset[str]) -> None:
        for topic in topics - self._topics:
            self._hints.add(topic, self.changed)
            self._topics.add(topic)

    @contextlib.contextmanager
    def woken_by(self, closing: asyncio.Event) -> Iterator[None]:
        async def wake() -> None:
            await closing.wait()
            self.changed.set()

        waking = asyncio.create_task(wake(), name="holdfast-order-stream-closing")
        try:
            yield
        finally:
            waking.cancel()
