"""A world in which a worker dies and another one finishes: clock, file, provider and outside stay."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from holdfast.artifacts.base import ArtifactStore
from holdfast.artifacts.local import LocalArtifacts
from holdfast.clock import Clock
from holdfast.dispatch.local import LocalDispatcher
from holdfast.engine import invocation
from holdfast.engine.attempt import Attempt, Services
from holdfast.engine.calls import StepCall
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.engine.worker import Worker
from holdfast.llm.client import LLM
from holdfast.llm.config import LLMConfig, ModelConfig, Price
from holdfast.llm.providers.base import ProviderRequest
from holdfast.llm.providers.scripted import Scripted
from holdfast.model import Budget, CallStatus, Job, JobStatus, SuspendReason
from holdfast.store.base import JobQuery, JobRecords, NewJob, Store
from holdfast.store.orders import Order, OrderQuery, OrderStore
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.clock import ManualClock
from holdfast.testing.crash import (
    CrashPoint,
    Died,
    Life,
    MailLog,
    MortalArtifacts,
    MortalProvider,
    MortalStore,
    ProviderLog,
)

JOB_ID = "job_0000000000000000000000crash"
LEASE_SECONDS = 1_000_000.0
"""Ends only when a test moves the clock past it."""
TURN_SECONDS = 0.001
PATIENCE_SECONDS = 30.0
TICK_SECONDS = 0.3
"""More than the store's interval of looking for other processes' commits."""
QUIET_TURNS = 10
BUDGET_RAISE = 1_500


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What reaches the outside as long as a life lasts."""

    life: Life
    number: int
    """Which life of the worker, from 1; 0 for who is no worker, and lives on."""
    store: Store
    orders: OrderStore
    artifacts: ArtifactStore
    client: JobClient
    mails: MailLog
    """The mail server's, of all lives."""
    clock: Clock


@dataclass(kw_only=True)
class Scenario:
    """A job and what the world does to it."""

    registry: Registry
    kind: str
    input: bytes = b"null"
    budget: Budget = field(default_factory=Budget)
    concurrency: int = 1
    """Most calls in flight at once."""
    cancel_after: frozenset[str] = frozenset()
    """Steps that must be stored before somebody asks for the job's end; nobody does without any."""
    ends: JobStatus = JobStatus.COMPLETED
    writer: Callable[[ProviderRequest], str | Awaitable[str]] | None = None
    reprints: str = "no such step"
    """Part of the names of steps that a later life may have to add: files are gone with the first."""
    patience_seconds: float = PATIENCE_SECONDS
    """How long a life may take on a busy machine."""
    before: Callable[[], object] = lambda: None
    """Cleans up what is shared, ahead of each run."""
    leftovers: Callable[[], list[str]] = list
    """Names what the job should not have left behind."""

    async def submit(self, hands: Hands) -> str:
        """Have the job come in, and return its id."""
        await hands.store.insert_job(
            NewJob(job_id=JOB_ID, kind=self.kind, queue="default", input=self.input, budget=self.budget)
        )
        return JOB_ID

    async def cancel(self, hands: Hands, job_id: str) -> None:
        """Ask for the job's end."""
        await hands.store.cancel_job(job_id)

    def resources(self, hands: Hands) -> dict[type, object]:
        """Return what job code may ask for besides a model client."""
        return {}

    def check(self, ending: Ending) -> None:
        """Check what must hold besides what holds for all jobs."""


@dataclass(kw_only=True)
class Ending:
    """What is known once the job has ended."""

    job: Job
    records: JobRecords
    seqs: list[int]
    event_types: list[str]
    log: ProviderLog
    mails: MailLog
    orders: Sequence[Order]
    jobs: Sequence[Job]
    """All that there are."""
    lives: list[Life]
    ran: list[tuple[int, str]]
    """Every run of a step's function: the life and the step's key."""
    finished_at_crash: set[str]
    """Steps with a stored result when the first life ended."""
    artifacts: Path


class World:
    """One database file, one clock, one provider; lives come and go."""

    def __init__(self, folder: Path, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock()
        self._folder = folder
        self._scenario = scenario
        self._job_id = ""
        self._log = ProviderLog()
        self._mails = MailLog()
        self._lives: list[Life] = []
        self._ran: list[tuple[int, str]] = []
        self._signalled = False
        self._auditor = SqliteStore(folder / "holdfast.db", clock=self.clock, synchronous="NORMAL")
        self._watch_steps(monkeypatch)

    def _watch_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        invoke = _real_invoke

        async def watched(attempt: Attempt, call: StepCall) -> Any:
            assert not self._lives[-1].over, "a dead worker runs steps"
            self._ran.append((len(self._lives), self._named(attempt.job, call.key)))
            return await invoke(attempt, call)

        monkeypatch.setattr(invocation, "_invoke", watched)

    async def run(self, point: CrashPoint | None) -> Ending:
        """Run the job to its end, with a death at `point` if it comes to that."""
        scenario = self._scenario
        scenario.before()
        await self._auditor.open()
        try:
            self._job_id = await scenario.submit(self._hands(self._auditor, Life(), number=0))
            job = await self._live(point)
            records = await self._records()
            finished = {found.key for found in records.checkpoints if found.finished}
            if not job.status.terminal:
                self.clock.advance(LEASE_SECONDS + 1)
                job = await self._live(None)
            return await self._ending(job, finished)
        finally:
            await self._auditor.close()

    async def _records(self) -> JobRecords:
        """Return what is on record of the job and its descendants."""
        family = await self._family(await self._auditor.get_job(self._job_id))
        found = [(job, await self._auditor.get_records(job.job_id)) for job in family]
        return JobRecords(
            checkpoints=tuple(
                replace(step, key=self._named(job, step.key))
                for job, records in found
                for step in records.checkpoints
            ),
            calls=tuple(
                replace(call, step_key=self._named(job, call.step_key))
                for job, records in found
                for call in records.calls
            ),
        )

    async def _family(self, job: Job) -> list[Job]:
        children = await self._auditor.list_jobs(JobQuery(parent_id=job.job_id))
        return [job, *[each for child in children for each in await self._family(child)]]

    def _named(self, job: Job, key: str) -> str:
        """Return a step's name in the family: jobs of other kinds may have steps of the same key."""
        return key if job.job_id == self._job_id else f"{job.kind}: {key}"

    async def _ending(self, job: Job, finished: set[str]) -> Ending:
        events = await self._auditor.read_events(self._job_id, limit=100_000)
        return Ending(
            job=job,
            records=await self._records(),
            seqs=[event.seq for event in events],
            event_types=[event.type for event in events],
            log=self._log,
            mails=self._mails,
            orders=await self._auditor.orders.list_orders(OrderQuery()),
            jobs=await self._auditor.list_jobs(JobQuery()),
            lives=self._lives,
            ran=self._ran,
            finished_at_crash=finished,
            artifacts=self._folder / "artifacts",
        )

    async def _live(self, point: CrashPoint | None) -> Job:
        """Have a worker work until the job has ended or the worker has died."""
        life = Life(point)
        self._lives.append(life)
        store = SqliteStore(self._folder / "holdfast.db", clock=self.clock, synchronous="NORMAL")
        await store.open()
        hands = self._hands(store, life, number=len(self._lives))
        llm = self._llm(life, hands.store)
        services = Services(
            store=hands.store,
            artifacts=hands.artifacts,
            clock=self.clock,
            resources={LLM: llm, **self._scenario.resources(hands)},
        )
        worker = Worker(
            services, self._scenario.registry, LocalDispatcher(store.hints), lease_seconds=LEASE_SECONDS
        )
        try:
            await worker.start()
            job = await self._watch(life)
            if not life.over:
                # Signing off is a write, too, and a moment to die at.
                with contextlib.suppress(Died):
                    await worker.drain()
                await llm.close()
            return job
        finally:
            life.end()
            assert worker._heartbeat is not None
            await worker._heartbeat.stop()
            await life.buried()
            await store.close()

    def _hands(self, store: SqliteStore, life: Life, *, number: int) -> Hands:
        mortal = MortalStore(store, life).as_store
        artifacts = MortalArtifacts(
            LocalArtifacts(self._folder / "artifacts", self.clock), life
        ).as_artifacts
        dispatcher = LocalDispatcher(store.hints)
        return Hands(
            life=life,
            number=number,
            store=mortal,
            orders=MortalStore(store.orders, life).as_orders,
            artifacts=artifacts,
            client=JobClient(mortal, self._scenario.registry, dispatcher, artifacts),
            mails=self._mails,
            clock=self.clock,
        )

    def _llm(self, life: Life, store: Store) -> LLM:
        provider = MortalProvider(
            Scripted(self._scenario.writer, clock=self.clock), life, self._log, number=len(self._lives)
        )
        price = Price(input_per_million=Decimal(1), output_per_million=Decimal(4))
        model = ModelConfig(model="small", provider="scripted", price=price)
        return LLM(
            LLMConfig.single(model), {"scripted": provider}, lanes=store, ledger=store, clock=self.clock
        )

    async def _watch(self, life: Life) -> Job:
        """Be the world outside: let time pass, give signals and money, until the job has ended."""
        seq, quiet = -1, 0
        async with asyncio.timeout(self._scenario.patience_seconds):
            while True:
                job = await self._auditor.get_job(self._job_id)
                if job.status.terminal or life.over:
                    return job
                quiet = quiet + 1 if job.event_seq == seq else 0
                seq = job.event_seq
                await self._act(job)
                if job.status is not JobStatus.RUNNING or quiet >= QUIET_TURNS:
                    self.clock.advance(TICK_SECONDS)
                    quiet = 0
                await asyncio.sleep(TURN_SECONDS)

    async def _act(self, job: Job) -> None:
        if job.suspend_reason is SuspendReason.SLEEP and job.available_at is not None:
            self.clock.advance(max(0.0, (job.available_at - self.clock.now()).total_seconds()))
        elif job.suspend_reason is SuspendReason.SIGNAL and not self._signalled:
            self._signalled = True
            await self._auditor.signal_job(self._job_id, "go", b'"green"')
        elif job.suspend_reason is SuspendReason.BUDGET:
            await self._auditor.set_budget(
                self._job_id, Budget(tokens=(job.budget.tokens or 0) + BUDGET_RAISE)
            )
        wanted = self._scenario.cancel_after
        if wanted and job.cancel_requested_at is None:
            records = await self._records()
            if wanted <= {found.key for found in records.checkpoints if found.finished}:
                outside = self._hands(self._auditor, Life(), number=0)
                await self._scenario.cancel(outside, self._job_id)


_real_invoke = invocation._invoke


# --- what must hold --------------------------------------------------------------------------------


def audit(ending: Ending, undisturbed: Ending, scenario: Scenario) -> None:
    """Check every promise against the provider's log, the ledger, the events and the files."""
    assert ending.job.status is scenario.ends, ending.job.error
    assert ending.job.output == undisturbed.job.output, ending.job.output
    assert ending.seqs == list(range(1, ending.job.event_seq + 1))
    _audit_steps(ending, undisturbed, scenario)
    _audit_money(ending, scenario)
    _audit_files(ending, undisturbed, scenario)
    scenario.check(ending)


def _audit_steps(ending: Ending, undisturbed: Ending, scenario: Scenario) -> None:
    again = {key for life, key in ending.ran if life == 2} & ending.finished_at_crash
    assert not again, f"ran again after their results were stored: {sorted(again)}"
    completed = {found.key for found in ending.records.checkpoints if found.finished}
    expected = {found.key for found in undisturbed.records.checkpoints if found.finished}
    completed = {key for key in completed if scenario.reprints not in key}
    assert completed == expected, f"steps {sorted(completed ^ expected)}"


def _audit_money(ending: Ending, scenario: Scenario) -> None:
    calls = {call.call_id: call for call in ending.records.calls}
    by_status = {
        status: [each for each in calls.values() if each.status is status] for status in CallStatus
    }
    assert not by_status[CallStatus.RESERVED]
    assert not by_status[CallStatus.FAILED]
    unsure = by_status[CallStatus.UNCERTAIN] + by_status[CallStatus.LOST]
    assert len(unsure) <= scenario.concurrency, "more calls in doubt than were in flight"
    assert all(call.step_key not in ending.finished_at_crash for call in unsure)
    assert all(each.call_id in calls for each in ending.log.sent), "a call was paid off the record"
    for sent in ending.log.repeated().values():
        told = [calls[each.call_id].status for each in sent]
        assert len(told) == 2, "paid more than twice for one crash"
        assert told[0].repeats, f"paid twice and not told: {told}"
        assert told[1] is CallStatus.SETTLED
    booked = by_status[CallStatus.SETTLED] + by_status[CallStatus.LOST]
    usage = ending.job.usage
    assert (usage.input_tokens, usage.output_tokens) == ending.log.usage_of(
        call.call_id for call in booked
    )
    assert usage.calls == len(booked)
    assert usage.usd == sum((call.usd or Decimal(0) for call in booked), Decimal(0))
    assert usage.uncertain_calls == len(by_status[CallStatus.UNCERTAIN])
    assert usage.uncertain_usd == sum(
        (call.reserved_usd or Decimal(0) for call in by_status[CallStatus.UNCERTAIN]), Decimal(0)
    )
    assert (usage.reserved_tokens, usage.reserved_usd) == (0, Decimal(0))
    # Every lost call was in fact paid again; an uncertain one only if it had been sent.
    for call in by_status[CallStatus.LOST]:
        assert (
            any(call.call_id == sent[0].call_id for sent in ending.log.repeated().values())
            or scenario.ends is not JobStatus.COMPLETED
        )


def _audit_files(ending: Ending, undisturbed: Ending, scenario: Scenario) -> None:
    kept = {path.name for path in ending.artifacts.glob("??/*")}
    expected = {path.name for path in undisturbed.artifacts.glob("??/*")}
    assert kept == expected, f"files {sorted(kept)}, expected {sorted(expected)}"
    for path in ending.artifacts.glob("??/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert not scenario.leftovers()


def describe(error: BaseException) -> str:
    """Return what to print of a failed point: the check that did not hold, and what was found."""
    check = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} in {check.name}: {check.line}"
