"""What goes wrong: processes are killed, webhooks come late, twice and overtaken, mail servers err."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from typing import TYPE_CHECKING, Any

from holdfast.testing.servers.smtp import At
from holdfast.testing.signals import eventually
from holdfast.testing.stripe import FaultKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.testing.chaos.fleet import Fleet
    from holdfast.testing.servers.smtp import Smtp
    from holdfast.testing.stripe import Delivery, StripeSimulator

STRIPE_FAULTS = {
    FaultKind.UNAVAILABLE: 0.03,
    FaultKind.RATE_LIMIT: 0.02,
    FaultKind.DROP: 0.03,
    FaultKind.CUT: 0.02,
}
"""How likely each request to the payment service is to fail, while things go wrong."""

_POLL_SECONDS = 0.05
_LATE_SECONDS = 6.0
_AGAIN_SECONDS = (0.5, 1.0, 2.0)
"""Before an event that was not taken is sent once more; the last one from then on."""
_REPEATED_WITHIN_SECONDS = 8.0
_LATE, _REPEATED = 0.3, 0.3
"""Shares of the events."""
_DONE_SECONDS = 120.0
_MAIL_FIRST_SECONDS = 6.0
_MAIL_GAP_SECONDS = (35.0, 60.0)
"""Longer than an e-mail waits that was turned away for the first time."""
_PAUSE_SECONDS = 3.0


class Postman:
    """Brings the events of the payment service to the shop until each has been taken."""

    def __init__(self, stripe: StripeSimulator, seed: int) -> None:
        """Take over the deliveries of a payment service.

        Args:
            stripe: Its courier is not at work itself.
            seed: Of what is late and what comes again.
        """
        self.careless = False
        """Whether events are late, come again, and overtake each other."""
        self._courier = stripe.courier
        self._random = random.Random(f"{seed}/postman")
        self._seen = 0
        self._under_way: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Bring events while the block lasts."""
        working = asyncio.create_task(self._work(), name="postman")
        try:
            yield
        finally:
            for task in (working, *self._under_way):
                task.cancel()
            await asyncio.wait((working, *self._under_way))

    async def done(self) -> None:
        """Return once everything that there is has been brought, repetitions too."""
        deliveries = self._courier.deliveries
        await eventually(
            lambda: self._seen == len(deliveries) and not self._under_way, seconds=_DONE_SECONDS
        )

    async def _work(self) -> None:
        while True:
            for delivery in self._courier.deliveries[self._seen :]:
                self._seen += 1
                task = asyncio.create_task(self._bring(delivery), name=f"post {delivery.event_id}")
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(_POLL_SECONDS)

    async def _bring(self, delivery: Delivery) -> None:
        if self.careless and self._random.random() < _LATE:
            await asyncio.sleep(self._random.uniform(0.0, _LATE_SECONDS))
        tries = 0
        while not delivery.done:
            if tries:
                await asyncio.sleep(_AGAIN_SECONDS[min(tries, len(_AGAIN_SECONDS)) - 1])
            tries += 1
            await self._courier.send(delivery)
        if self.careless and self._random.random() < _REPEATED:
            await asyncio.sleep(self._random.uniform(0.0, _REPEATED_WITHIN_SECONDS))
            await asyncio.gather(self._courier.send(delivery), self._courier.send(delivery))


async def kill_in_turn(fleet: Fleet, seed: int, *, every: float, log: list[str]) -> None:
    """Kill a process again and again until cancelled: of those that may be, who was spared longest.

    One that has just started up is spared for twice as long as that took, and as kills are apart: where
    processes died faster than they start, on a machine that is busy, nothing would ever be done.

    Args:
        fleet: Whose processes.
        seed: Of the order in which they are struck first.
        every: Seconds between kills.
        log: Is told of each, for the report.
    """
    line = list(range(len(fleet.posts)))
    random.Random(f"{seed}/kills").shuffle(line)
    while True:
        await asyncio.sleep(every)
        for place in line:
            life = fleet.at(place)
            times = None if life is None else life.times()
            if life is not None and times is not None and times[1] >= max(every, 2 * times[0]):
                fleet.tell(life, signal.SIGKILL)
                log.append(f"{life.name} was killed after {times[1]:.0f} s at work")
                line.remove(place)
                line.append(place)
                break


async def trouble_mails(smtp: Smtp, seed: int) -> None:
    """Have the mail server lose answers, turn e-mails away, dawdle and restart, until cancelled.

    No e-mail is met twice: after its second failure it would wait for minutes.
    """
    draw = random.Random(f"{seed}/mail")
    faults: tuple[dict[str, Any] | None, ...] = (
        {"at": At.TAKEN, "drop": True},
        {"at": At.RCPT, "answer": "451 4.7.1 come back later"},
        {"at": At.CONTENT, "drop": True},
        {"at": At.TAKEN, "delay_seconds": _PAUSE_SECONDS},
        None,
    )
    paused: asyncio.Future[None] | None = None
    pause = draw.uniform(0.0, _MAIL_FIRST_SECONDS)
    try:
        while True:
            await asyncio.sleep(pause)
            how = draw.choice(faults)
            if how is None:
                paused = asyncio.ensure_future(asyncio.to_thread(_pause, smtp))
                await asyncio.shield(paused)
            else:
                fault = smtp.fails(**how, times=1)
                while fault.times:  # noqa: ASYNC110 - it has no event to wait for
                    await asyncio.sleep(_POLL_SECONDS)
            pause = draw.uniform(*_MAIL_GAP_SECONDS)
    finally:
        smtp.recovers()
        if paused is not None:
            await paused


def _pause(smtp: Smtp) -> None:
    smtp.stop()
    try:
        time.sleep(_PAUSE_SECONDS)
    finally:
        smtp.start()
