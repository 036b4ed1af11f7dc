"""A lane shared by processes: a small job beside a large one in another, on a clock moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from holdfast.llm import LLM, LLMConfig, ModelConfig
from holdfast.llm.call import Urgency
from holdfast.llm.config import FREE
from holdfast.llm.providers.scripted import Scripted
from holdfast.model import Lease
from holdfast.scope import StepScope, enter_step
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.clock import ManualClock
from holdfast.turns import ASK_AGAIN_SECONDS_MAX, LATE_SECONDS_MAX

RPM, TPM, BURST = 500, 450_000, 2.0
CHARGED = 4_000
"""Tokens of the lane that a call takes: its output limit."""
CALL_SECONDS = 20.0
LONG, SHORT = 161, 4
RATIO_MAX = 1.3
STEP_SECONDS = 0.05


class BusyStore:
    """A store's lanes that tell how many of their answers are awaited."""

    def __init__(self, store: SqliteStore, fleet: "Fleet") -> None:
        self._store = store
        self._fleet = fleet

    async def take_lane(self, request):
        self._fleet.awaited += 1
        self._fleet.asked += 1
        try:
            return await self._store.take_lane(request)
        finally:
            self._fleet.awaited -= 1

    async def adjust_lane(self, adjustment):
        raise AssertionError("nothing is to be corrected")


class Fleet:
    """Clients on one database, each with a store of its own as separate processes have."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.awaited = 0
        self.asked = 0
        self.starts: list[float] = []
        self._folder = folder
        self._opened: list[LLM | SqliteStore] = []
        self._jobs: list[asyncio.Task[None]] = []

    async def process(self) -> LLM:
        store = SqliteStore(self._folder / "holdfast.db", clock=self.clock)
        await store.open()

        async def answer(_: object) -> str:
            self.starts.append(self.clock.monotonic())
            await self.clock.sleep(CALL_SECONDS)
            return "done"

        model = ModelConfig(
            model="m",
            provider="scripted",
            price=FREE,
            max_output_tokens=CHARGED,
            requests_per_minute=RPM,
            tokens_per_minute=TPM,
            burst_seconds=BURST,
        )
        provider = Scripted(answer, clock=self.clock)
        config = LLMConfig(default_model="m", models={"m": model}, rate_share=1)
        llm = LLM(config, {"scripted": provider}, lanes=BusyStore(store, self), clock=self.clock)
        self._opened += [llm, store]
        return llm

    async def close(self) -> None:
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for each in self._opened:
            await each.close()

    def start_job(self, llm: LLM, name: str, calls: int, *, urgency="normal", in_turn=False):
        """Start a job of some calls, all at once or one after another."""
        job = asyncio.create_task(run_job(llm, name, calls, urgency, in_turn=in_turn))
        self._jobs.append(job)
        return job

    async def pass_time(self, until: Callable[[], bool]) -> float:
        """Move the clock on whenever nothing else can happen; return the seconds it took."""
        began = self.clock.monotonic()
        while True:
            quiet = 0
            while quiet < 10:
                await asyncio.sleep(0)
                quiet = 0 if self.awaited else quiet + 1
            if until():
                return self.clock.monotonic() - began
            assert self.clock.monotonic() < 1_000
            self.clock.advance(STEP_SECONDS)

    async def pass_seconds(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        await self.pass_time(lambda: self.clock.monotonic() >= end)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path)
    yield fleet
    await fleet.close()


async def run_job(llm: LLM, name: str, calls: int, urgency: Urgency, *, in_turn: bool) -> None:
    enter_step(
        StepScope(
            lease=Lease(job_id=name, epoch=1, worker_id="w", row=1),
            kind="k",
            step_key="s",
            step_attempt=1,
            priority=0,
            tenant=None,
            emit=lambda event_type, fields: None,
            emit_delta=lambda _: None,
            owe=lambda _call_id, _booking: None,
        )
    )
    if in_turn:
        for _ in range(calls):
            await llm.complete("go", urgency=urgency)
    else:
        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                group.create_task(llm.complete("go", urgency=urgency))


@pytest.mark.parametrize("in_turn", [False, True], ids=["at_once", "one_after_another"])
@pytest.mark.parametrize(
    ("long_urgency", "short_urgency"),
    [("normal", "normal"), ("background", "interactive"), ("background", "background")],
)
async def test_small_job_takes_at_most_a_third_longer_beside_a_large_one_in_another_process(
    fleet, long_urgency, short_urgency, in_turn
):
    busy, other = await fleet.process(), await fleet.process()
    alone = fleet.start_job(other, "alone", SHORT, urgency=short_urgency, in_turn=in_turn)
    alone_seconds = await fleet.pass_time(alone.done)
    await fleet.pass_seconds(10)

    long = fleet.start_job(busy, "long", LONG, urgency=long_urgency)
    await fleet.pass_seconds(10)
    short = fleet.start_job(other, "short", SHORT, urgency=short_urgency, in_turn=in_turn)
    beside_seconds = await fleet.pass_time(short.done)

    assert not long.done()
    assert beside_seconds <= RATIO_MAX * alone_seconds
    await fleet.pass_time(long.done)
    admission = (LONG + SHORT) * CHARGED / TPM * 60
    assert fleet.starts[-1] - fleet.starts[SHORT] <= 1.05 * admission


@pytest.mark.parametrize("own", [True, False], ids=["own_process", "busy_process"])
async def test_urgent_job_is_as_fast_beside_large_jobs_in_five_processes(fleet, own):
    busy = [await fleet.process() for _ in range(5)]
    other = await fleet.process() if own else busy[0]
    alone = fleet.start_job(other, "alone", SHORT)
    alone_seconds = await fleet.pass_time(alone.done)
    for number, llm in enumerate(busy):
        fleet.start_job(llm, f"long{number}", LONG, urgency="background")
    await fleet.pass_seconds(10)

    urgent = fleet.start_job(other, "urgent", SHORT, urgency="interactive")
    seconds = await fleet.pass_time(urgent.done)

    assert seconds <= RATIO_MAX * alone_seconds


async def test_three_processes_with_calls_of_different_urgency_share_by_weight(fleet):
    weights = {"interactive": 8.0, "normal": 1.0, "background": 0.125}
    left: dict[str, list[asyncio.Task[None]]] = {}
    for urgency in weights:
        llm = await fleet.process()
        left[urgency] = [fleet.start_job(llm, urgency, 1, urgency=urgency) for _ in range(200)]
    await fleet.pass_seconds(100 + CALL_SECONDS)

    done = {urgency: sum(task.done() for task in tasks) for urgency, tasks in left.items()}
    total = sum(done.values())
    for urgency, weight in weights.items():
        assert abs(done[urgency] - total * weight / sum(weights.values())) <= 4


async def test_limits_hold_for_all_processes_together_and_few_questions_are_asked(fleet):
    jobs = [fleet.start_job(await fleet.process(), f"job{number}", 60) for number in range(3)]

    await fleet.pass_time(lambda: all(job.done() for job in jobs))

    starts = sorted(fleet.starts)
    for count in range(1, len(starts)):
        passed = starts[count] - starts[0]
        assert count * CHARGED <= TPM / 60 * (passed + BURST) + CHARGED
    assert starts[-1] <= 1.03 * (180 * CHARGED / TPM * 60)
    assert fleet.asked <= 2.5 * 180


async def test_process_that_is_gone_from_the_line_holds_nobody_up_for_long(fleet):
    gone, other = await fleet.process(), await fleet.process()
    fleet.start_job(gone, "gone", LONG, urgency="interactive")
    rest = fleet.start_job(other, "rest", LONG, urgency="background")
    await fleet.pass_seconds(20)
    mine = len(fleet.starts)

    await gone.close()
    await fleet.pass_seconds(ASK_AGAIN_SECONDS_MAX + LATE_SECONDS_MAX)
    slots = 10
    await fleet.pass_seconds(slots * CHARGED / TPM * 60)

    assert len(fleet.starts) >= mine + slots
    assert not rest.done()
