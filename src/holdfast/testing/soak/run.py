"""One soak from beginning to end: single orders for a measure, mixed ones among kills, and an audit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2
import psycopg

from holdfast.testing.chaos import schedule
from holdfast.testing.chaos.ending import ended, standing_of
from holdfast.testing.chaos.faults import Faults
from holdfast.testing.chaos.schedule import FaultKind
from holdfast.testing.chaos.stage import open_stage
from holdfast.testing.servers.base import free_port
from holdfast.testing.servers.smtp import Smtp
from holdfast.testing.soak.auditor import audit
from holdfast.testing.soak.books import Phase, Way
from holdfast.testing.soak.customers import HighStreet
from holdfast.testing.soak.load import People, mixed
from holdfast.testing.soak.mischief import STRIPE_FAULTS, Postman, kill_in_turn, trouble_mails
from holdfast.testing.soak.options import Shop, scene_of
from holdfast.testing.soak.reading import read_shop
from holdfast.testing.stripe import FaultPlan, StripeSimulator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.testing.chaos.schedule import Fault
    from holdfast.testing.chaos.stage import Stage
    from holdfast.testing.soak.books import ShopBooks
    from holdfast.testing.soak.load import Arrival
    from holdfast.testing.soak.options import Options

_POLL_SECONDS = 0.25
_READY_SECONDS = 120.0
_PROBED = "life_clarity"
_BESIDE = "personal_horoscope"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    options: Options
    seed: int
    findings: list[str]
    books: ShopBooks
    done: list[str]
    """The faults as they were brought about."""
    seconds: float
    trouble_seconds: float
    """How long processes were killed."""


async def run_soak(options: Options, seed: int, folder: Path) -> Outcome:
    """Run it once.

    Args:
        options: How large it is.
        seed: Of customers, kills, and what else goes wrong.
        folder: Empty; logs, the provider's journal and artifacts are left there.
    """
    began = time.monotonic()
    async with StripeSimulator() as stripe:
        with Smtp() as smtp:
            shop = Shop(port=free_port(), stripe_url=stripe.base_url, smtp_url=smtp.url)
            async with open_stage(scene_of(options, shop, folder), folder) as stage:
                soak = _Soak(
                    options=options,
                    seed=seed,
                    stage=stage,
                    shop=shop,
                    stripe=stripe,
                    smtp=smtp,
                    street=HighStreet(shop.url, stripe, seed),
                    postman=Postman(stripe, seed),
                    people=People(seed),
                )
                findings, done, trouble_seconds = await soak.run()
                books = await read_shop(stage, soak.street, stripe, smtp)
    return Outcome(
        options=options,
        seed=seed,
        findings=[*findings, *audit(books)],
        books=books,
        done=done,
        seconds=time.monotonic() - began,
        trouble_seconds=trouble_seconds,
    )


def trouble_of(options: Options, seed: int) -> tuple[Fault, ...]:
    """Return what goes wrong beside kills, if it was asked for."""
    if not options.trouble:
        return ()
    faults = schedule.plan(
        seed,
        seconds=options.seconds,
        workers=options.workers + 1,
        lease_seconds=options.lease_seconds,
        gap_seconds=2 * options.kill_every,
        broker=options.broker != "none",
    )
    left_out = (FaultKind.CLOCK, FaultKind.ECHO, FaultKind.KILL)
    return tuple(fault for fault in faults if fault.kind not in left_out)


@dataclass(slots=True, kw_only=True)
class _Soak:
    options: Options
    seed: int
    stage: Stage
    shop: Shop
    stripe: StripeSimulator
    smtp: Smtp
    street: HighStreet
    postman: Postman
    people: People

    async def run(self) -> tuple[list[str], list[str], float]:
        """Return what was late, what was done, and how long processes were killed."""
        stage, options = self.stage, self.options
        stage.fleet.start()
        self.stripe.courier.url = f"{self.shop.url}/api/v1/webhooks/stripe"
        async with self.postman.at_work():
            await self._all_there()
            await self._probe(Phase.FIRST, 1)
            await self._probe(Phase.IDLE, options.probes)
            await self._probe_beside_horoscopes()
            arrivals = mixed(self.people, self.seed, orders=options.orders, seconds=options.seconds)
            began = time.monotonic()
            done = await self._sell_among_kills(arrivals)
            trouble_seconds = time.monotonic() - began
            await self._all_there()
            late = await ended(stage.store_url, still_seconds=options.still_seconds)
            await self.postman.done()
            for visit in self.street.visits:
                await self.street.look_again(visit)
        await stage.fleet.leave()
        return [late] if late else [], done, trouble_seconds

    async def _probe(self, phase: Phase, count: int) -> None:
        for _ in range(count):
            await self.street.visit(self.people.draw(phase, _PROBED, Way.CARD))

    async def _probe_beside_horoscopes(self) -> None:
        """Measure while so many horoscopes run: where one is ready, the next is ordered."""
        if not self.options.probes or not self.options.horoscopes:
            return
        enough = asyncio.Event()

        async def keep_running() -> None:
            while not enough.is_set():
                await self.street.visit(self.people.draw(Phase.LONG, _BESIDE, Way.CARD))

        async with asyncio.TaskGroup() as group:
            for _ in range(self.options.horoscopes):
                group.create_task(keep_running())
            await self._running(self.options.horoscopes)
            await self._probe(Phase.BESIDE, self.options.probes)
            enough.set()

    async def _sell_among_kills(self, arrivals: Sequence[Arrival]) -> list[str]:
        options, seed, fleet = self.options, self.seed, self.stage.fleet
        bringing = Faults(self.stage, since=self.stage.now())
        self.postman.careless = True
        self.stripe.faults = FaultPlan(chances=STRIPE_FAULTS, seed=seed)
        going_wrong = [
            asyncio.create_task(each)
            for each in (
                kill_in_turn(fleet, seed, every=options.kill_every, log=bringing.log),
                bringing.bring_about(trouble_of(options, seed)),
                trouble_mails(self.smtp, seed),
            )
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for arrival in arrivals:
                    group.create_task(self._come(arrival))
            await self._nothing_left()
        finally:
            for task in going_wrong:
                task.cancel()
            await asyncio.wait(going_wrong)
            self.postman.careless = False
            self.stripe.faults = FaultPlan()
        return bringing.log

    async def _come(self, arrival: Arrival) -> None:
        await asyncio.sleep(arrival.at)
        await self.street.visit(arrival.customer)

    async def _all_there(self) -> None:
        """Wait until the service answers and all workers are known."""
        async with asyncio.timeout(_READY_SECONDS), httpx2.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx2.TransportError, psycopg.OperationalError):
                    answer = await client.get(f"{self.shop.url}/health/ready")
                    known = await asyncio.to_thread(_workers_of, self.stage.store_url)
                    if answer.is_success and known >= self.options.workers:
                        return
                await asyncio.sleep(_POLL_SECONDS)

    async def _running(self, count: int) -> None:
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                if await asyncio.to_thread(_running_of, self.stage.store_url, _BESIDE) >= count:
                    return
                await asyncio.sleep(_POLL_SECONDS)

    async def _nothing_left(self) -> None:
        """Wait until no job is left, or nothing can be expected any more."""
        until = time.monotonic() + self.options.still_seconds
        steps = -1
        while time.monotonic() < until:
            with contextlib.suppress(psycopg.OperationalError):
                standing = await asyncio.to_thread(standing_of, self.stage.store_url)
                if not standing.left:
                    return
                if standing.steps != steps:
                    steps, until = standing.steps, time.monotonic() + self.options.still_seconds
            await asyncio.sleep(_POLL_SECONDS)


def _workers_of(store_url: str) -> int:
    return _counted(store_url, "SELECT COUNT(*) FROM workers")


def _running_of(store_url: str, kind: str) -> int:
    query = "SELECT COUNT(*) FROM jobs WHERE status = 'running' AND kind = %s"
    return _counted(store_url, query, kind)


def _counted(store_url: str, query: str, *values: str) -> int:
    with psycopg.connect(store_url, autocommit=True) as connection:
        return int(connection.execute(query.encode(), values).fetchall()[0][0])
