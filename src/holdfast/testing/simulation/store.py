"""The store of a simulation: the real statements on a database in memory, and a bad road to it."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections import Counter
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from holdfast.errors import LeaseLost, StoreUnavailableError
from holdfast.model import Lease
from holdfast.store.hints import Hints
from holdfast.store.rows import micros
from holdfast.store.sqlite_runner import SqliteTransaction
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.simulation.plan import FaultKind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from holdfast.clock import Clock
    from holdfast.store.base import Store
    from holdfast.testing.simulation.loop import Process, SimulatedLoop
    from holdfast.testing.simulation.plan import Fault

_IDLE_VERBS = frozenset({"claim_jobs", "wake_jobs", "rescue_jobs", "beat", "inspect"})
"""What workers do without being asked to: so often, and no more."""

IDLE_CALLS_PER_SECOND_MAX = 100


class InlineStore(SqliteStore):
    """The SQLite store without file and threads: a verb is done when it is called."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(":memory:", clock=clock)
        self.topics: set[str] = set()
        """What the last verb would hint at."""
        self._connection = _fresh_database()

    def _write(self, operation: Callable[[Any], Any]) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(self._run(operation))
        return done

    async def _read(self, query: Callable[[Any], Any]) -> Any:
        return query(self._connection)

    def look(self, statement: str) -> list[Any]:
        """Return the rows of a query, for the auditor."""
        return self._connection.execute(statement).fetchall()  # type: ignore[no-any-return]

    def discard(self) -> None:
        """Close the database; what was in it is gone."""
        self._connection.close()

    def _run(self, operation: Callable[[Any], Any]) -> Any:
        transaction = SqliteTransaction(self._connection, micros(self._clock.now()))
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            outcome = operation(transaction)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        self.topics = transaction.topics
        return outcome


@functools.cache
def _template() -> bytes:
    """Return a database with all tables and nothing in them; migrating takes longer than a run."""
    return SqliteStore(":memory:")._connect().serialize()  # noqa: SLF001


def _fresh_database() -> Any:
    from holdfast.store.connection import connect

    connection = connect(":memory:")
    connection.deserialize(_template())
    return connection


@dataclass(frozen=True, slots=True)
class _Message:
    """A verb on its way to the store."""

    road: Road
    verb: str
    args: tuple[Any, ...]
    call: Callable[[], Any]
    answer: asyncio.Future[Any]


class Database:
    """The one database, the road to it, and a record of who did what to it and when."""

    def __init__(
        self, loop: SimulatedLoop, store: InlineStore, faults: tuple[Fault, ...], draw: random.Random
    ) -> None:
        self.store = store
        self.violations: list[str] = []
        self.unsure_calls: set[str] = set()
        """Calls whose intent or booking the store has made difficult."""
        self.roads: list[Road] = []
        self.lines: list[str] | None = None
        """Set to a list, it takes a line for each verb."""
        self.hear: Callable[[Road], bool] = lambda _: True
        """Tells whether a hint gets through."""
        self._loop = loop
        self._faults = {(fault.verb, fault.number): fault for fault in faults if fault.verb}
        self._outages = [fault for fault in faults if fault.kind is FaultKind.OUTAGE]
        self._draw = draw
        self._numbers: Counter[str] = Counter()
        self._idle: Counter[tuple[str, str, int]] = Counter()
        self._digest = hashlib.sha256()
        self.verbs = 0

    @property
    def trace_hash(self) -> str:
        """Hash of all that was written so far: who, what, when, with which end."""
        return self._digest.hexdigest()

    def send(self, road: Road, verb: str, args: tuple[Any, ...], options: Any) -> asyncio.Future[Any]:
        """Send a verb on its way; the future resolves when the answer is back."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._numbers[verb] += 1
        fault = self._faults.get((verb, self._numbers[verb]))
        self._count_idle(road, verb)
        way = self._latency()
        if fault is not None and fault.kind is FaultKind.SLOW:
            way += fault.seconds
        if fault is not None and fault.kind is FaultKind.CRASH_BEFORE:
            self.tell(road.process, verb, "killed on the way")
            road.kill()
            return answer
        call = functools.partial(getattr(self.store, verb), *args, **options)
        self._later(way, self._arrive, _Message(road, verb, args, call, answer), fault)
        return answer

    def _arrive(self, message: _Message, fault: Fault | None) -> None:
        road, verb = message.road, message.verb
        kind = None if fault is None else fault.kind
        if kind is FaultKind.REFUSED or self._is_out():
            self._note_trouble(verb, message.args)
            self.tell(road.process, verb, "refused")
            self._later(self._latency(), _settle, message.answer, None, _unavailable(verb))
            return
        if road.process.dead and self._draw.random() < 0.5:
            # It had not left the worker's machine yet.
            return
        result, error = self._execute(message)
        topics = sorted(self.store.topics)
        if kind is FaultKind.CRASH_AFTER:
            road.kill()
        elif kind is FaultKind.UNANSWERED:
            self._note_trouble(verb, message.args)
            error = _unavailable(verb)
        self._later(self._latency(), self._deliver, road, (message.answer, result, error), topics)

    def _execute(self, message: _Message) -> tuple[Any, BaseException | None]:
        """Run a verb in a transaction, and check that it was let through or refused rightly."""
        result, error = None, None
        self.store.topics = set()
        held = self._holder(message.args)
        try:
            result = _run_now(message.call())
        except BaseException as raised:  # noqa: BLE001 - handed to the caller
            error = raised
        if held is not None:
            self._check_fence(message.verb, message.args[0], held, error)
        end = "done" if error is None else type(error).__name__
        self.tell(message.road.process, message.verb, end)
        return result, error

    def _deliver(self, road: Road, outcome: tuple[Any, Any, Any], topics: list[str]) -> None:
        _settle(*outcome)
        if not topics:
            return
        road.hints.publish(*topics)
        for other in self.roads:
            if other is not road and not other.process.dead and self.hear(other):
                self._later(self._draw.uniform(0.001, 0.4), other.hints.publish_all)

    # what is checked at each verb ----------------------------------------------------------------

    def _holder(self, args: tuple[Any, ...]) -> tuple[int, str] | None:
        if not args or not isinstance(args[0], Lease):
            return None
        found = self.store.look(f"SELECT epoch, status FROM jobs WHERE id = {args[0].row:d}")  # noqa: S608
        return found[0] if found else (0, "gone")

    def _check_fence(
        self, verb: str, lease: Lease, held: tuple[int, str], error: BaseException | None
    ) -> None:
        valid = held == (lease.epoch, "running")
        if not valid and error is None:
            self.violations.append(
                f"{verb} of {lease.job_id} under epoch {lease.epoch} was accepted while the job was "
                f"{held[1]} under epoch {held[0]}"
            )
        if valid and isinstance(error, LeaseLost):
            self.violations.append(f"{verb} of {lease.job_id} was refused to the lease's owner")

    def _note_trouble(self, verb: str, args: tuple[Any, ...]) -> None:
        if verb == "settle_call":
            self.unsure_calls.add(args[1])
        elif verb == "reserve_call":
            self.unsure_calls.add(args[1].call_id)

    def _count_idle(self, road: Road, verb: str) -> None:
        if verb not in _IDLE_VERBS:
            return
        key = (road.process.name, verb, int(self._loop.time()))
        self._idle[key] += 1
        if self._idle[key] == IDLE_CALLS_PER_SECOND_MAX:
            self.violations.append(
                f"{road.process} called {verb} {IDLE_CALLS_PER_SECOND_MAX} times within the second "
                f"{key[2]}: it keeps the store busy with nothing"
            )

    def tell(self, process: Process, verb: str, end: str) -> None:
        """Put what happened on record."""
        self.verbs += 1
        line = f"{self._loop.time():10.4f} {process.name:<8} {verb:<15} {end}"
        self._digest.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    # the road --------------------------------------------------------------------------------------

    def _latency(self) -> float:
        if self._draw.random() < 0.04:
            return self._draw.uniform(0.02, 0.3)
        return self._draw.uniform(0.0003, 0.004)

    def _is_out(self) -> bool:
        present = self._loop.time()
        return any(fault.at <= present < fault.at + fault.seconds for fault in self._outages)

    def _later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        # In an empty context: what is on the road goes on whatever becomes of the sender.
        self._loop.call_later(seconds, function, *args, context=Context())


class Road:
    """The store as one process sees it. Not a `Store` to the type checker; see `as_store`."""

    def __init__(self, database: Database, process: Process, kill: Callable[[], None]) -> None:
        self.hints = Hints()
        self.process = process
        self.kill = kill
        self._database = database
        database.roads.append(self)

    @property
    def as_store(self) -> Store:
        """This object, for parameters that want a `Store`."""
        return cast("Store", self)

    async def beat(self, *args: Any, **options: Any) -> Any:
        """Renew a worker; not blocking here, see `holdfast.testing.simulation.worker`."""
        return await self._database.send(self, "beat", args, options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*args: Any, **options: Any) -> Any:
            return await self._database.send(self, name, args, options)

        return call


def _run_now(answer: Any) -> Any:
    """Return the result of a coroutine that never waits, or of a plain call."""
    if not asyncio.iscoroutine(answer):
        return answer
    try:
        answer.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a verb of the store waits for something")


def _unavailable(verb: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"simulated trouble at {verb!r}", hint="part of the plan")


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
