"""Lives that end in the middle: a worker whose every way to the outside closes at a chosen moment.

What `kill -9` does to a process, done to a part of one: no task of it goes on, nothing of it is
written, nothing of it is sent. Fast enough to die at every single write of a job.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from holdfast.llm.providers.scripted import request_hash
from holdfast.store.base import Pulse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from holdfast.artifacts.base import ArtifactStore
    from holdfast.llm.providers.base import Provider, ProviderReply, ProviderRequest, TokenUsage
    from holdfast.store.base import Store

READS = frozenset({"get_job", "list_jobs", "get_records", "read_events", "inspect"})
"""Verbs of a store that write nothing; all others are counted."""

_TURNS_IN_FLIGHT = 3
"""Turns of the event loop that a call takes, so that calls overlap as they do on a network."""

_BURIAL_SECONDS = 5.0


class Died(BaseException):
    """The life that this code belongs to is over. Must not be caught."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashPoint:
    """A moment to die at."""

    at: Literal["write", "call"]
    """A write to the store, or a call to the provider."""
    number: int
    """Which one of the life, from 1."""
    when: Literal["before", "after"]
    """Before it takes effect (is sent), or after it did and before the reply is known."""

    def __str__(self) -> str:
        return f"{self.when} {self.at} {self.number}"


class Life:
    """One life of a worker: counts what it does outside and ends it at its crash point.

    To be made right before the worker's parts: tasks that are there already are not its own.
    """

    def __init__(self, point: CrashPoint | None = None) -> None:
        self.point = point
        self.over = False
        self.writes: list[str] = []
        """Names of the store's verbs that wrote, in order."""
        self.calls = 0
        """Calls to the provider."""
        self._spared: set[asyncio.Task[Any]] = asyncio.all_tasks()
        self._victims: set[asyncio.Task[Any]] = set()

    def end(self) -> None:
        """Die: from now on no task of this life gets to do anything."""
        self.over = True
        current = asyncio.current_task()
        self._victims |= self._tasks()
        for task in self._victims:
            # The one that comes here dies of what is raised.
            if task is not current:
                task.cancel()

    async def buried(self) -> None:
        """Return once all tasks of this life have unwound.

        Raises:
            TimeoutError: One holds on.
        """
        async with asyncio.timeout(_BURIAL_SECONDS):
            await asyncio.gather(*self._victims, return_exceptions=True)
            while tasks := self._tasks():
                await asyncio.gather(*tasks, return_exceptions=True)

    def check(self) -> None:
        """Let nothing through that comes after the end.

        Raises:
            Died: The life is over.
        """
        if self.over:
            raise Died

    def reach(self, at: Literal["write", "call"], number: int, when: Literal["before", "after"]) -> None:
        """Tell that the life has come to a moment; it ends if that is its crash point.

        Raises:
            Died: It does, or is over already.
        """
        if self.point == CrashPoint(at=at, number=number, when=when):
            self.end()
        self.check()

    def _tasks(self) -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks() - self._spared


class MortalStore:
    """Hands every verb on to a real store as long as its life lasts."""

    def __init__(self, store: Store, life: Life) -> None:
        self._store = store
        self._life = life

    @property
    def as_store(self) -> Store:
        """This object, for parameters that want a `Store`."""
        return cast("Store", self)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name.startswith("_") or not callable(found):
            return found
        return self._beat if name == "beat" else self._verb(name, found)

    def _beat(self, *args: Any, **options: Any) -> Pulse:
        # Called from the heartbeat's thread, which an exception would end loudly. Not counted: it
        # goes by the machine's time.
        if self._life.over:
            return Pulse(alive=True)
        return self._store.beat(*args, **options)

    def _verb(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **options: Any) -> Any:
            life = self._life
            life.check()
            if name in READS:
                return await call(*args, **options)
            life.writes.append(name)
            number = len(life.writes)
            life.reach("write", number, "before")
            answer = await call(*args, **options)
            life.reach("write", number, "after")
            return answer

        return counted


class MortalArtifacts:
    """Hands everything on to a real artifact store as long as its life lasts."""

    def __init__(self, artifacts: ArtifactStore, life: Life) -> None:
        self._artifacts = artifacts
        self._life = life

    @property
    def as_artifacts(self) -> ArtifactStore:
        """This object, for parameters that want an `ArtifactStore`."""
        return cast("ArtifactStore", self)

    def __getattr__(self, name: str) -> Any:
        self._life.check()
        return getattr(self._artifacts, name)


@dataclass(slots=True, kw_only=True)
class Sent:
    """A call as the provider remembers it; it is paid, whoever hears of the answer."""

    call_id: str
    body_hash: str
    """Equal for equal questions."""
    life: int
    """Which life sent it, from 1."""
    usage: TokenUsage | None = None


class ProviderLog:
    """The provider's own account of all lives: the auditor."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def repeated(self) -> dict[str, list[Sent]]:
        """Return the questions that were paid for more than once, each with its calls."""
        by_hash: dict[str, list[Sent]] = {}
        for each in self.sent:
            by_hash.setdefault(each.body_hash, []).append(each)
        return {key: calls for key, calls in by_hash.items() if len(calls) > 1}

    def usage_of(self, call_ids: Iterable[str]) -> tuple[int, int]:
        """Return input and output tokens of these calls."""
        wanted = set(call_ids)
        found = [each.usage for each in self.sent if each.call_id in wanted and each.usage is not None]
        return sum(usage.input_tokens for usage in found), sum(usage.output_tokens for usage in found)


class MortalProvider:
    """Sends calls to a provider as long as its life lasts, and has each of them on its log."""

    free = False

    def __init__(self, provider: Provider, life: Life, log: ProviderLog, *, number: int) -> None:
        """Join the parts.

        Args:
            provider: Answers.
            life: Ends at its crash point.
            log: Outlives all lives.
            number: Which life this is, from 1.
        """
        self._provider = provider
        self._life = life
        self._log = log
        self._number = number
        self.name = provider.name
        self.price_url = provider.price_url

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        life = self._life
        life.check()
        life.calls += 1
        number = life.calls
        life.reach("call", number, "before")
        sent = Sent(call_id=request.call_id, body_hash=request_hash(request), life=self._number)
        self._log.sent.append(sent)
        reply = await self._provider.complete(request)
        # Charged from here on, even if nobody is left to hear the answer.
        sent.usage = reply.usage
        for _ in range(_TURNS_IN_FLIGHT):
            await asyncio.sleep(0)
        life.reach("call", number, "after")
        return reply

    def stream(self, request: ProviderRequest) -> AsyncGenerator[str | ProviderReply, None]:
        raise NotImplementedError("crash tests do not stream")

    async def close(self) -> None:
        """Do nothing: the provider outlives this life."""
