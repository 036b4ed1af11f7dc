"""Lives that end in the middle: a worker whose every way to the outside closes at a chosen moment.

What `kill -9` does to a process, done to a part of one: no task of it goes on, nothing of it is
written, nothing of it is sent. Fast enough to die at every single write of a job.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from holdfast.llm.providers.scripted import request_hash
from holdfast.store.base import Pulse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from holdfast.apps.reports.orders.mail.base import Mail, Mailer, Sender
    from holdfast.artifacts.base import ArtifactStore
    from holdfast.llm.providers.base import Provider, ProviderReply, ProviderRequest, TokenUsage
    from holdfast.store.base import Store
    from holdfast.store.orders import OrderStore

T = TypeVar("T")

Place = Literal["write", "call", "mail"]
"""What is done outside: a write to the store, a call to the provider, an e-mail handed over."""

READS = frozenset(
    {"get_job", "list_jobs", "get_records", "read_events", "inspect"}
    | {"find_order", "find_order_of", "list_orders"}
)
"""Verbs of a store that write nothing; all others are counted."""

_TURNS_IN_FLIGHT = 3
"""Turns of the event loop that a call takes, so that calls overlap as they do on a network."""

_BURIAL_SECONDS = 5.0


class Died(BaseException):
    """The life that this code belongs to is over. Must not be caught."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashPoint:
    """A moment to die at."""

    at: Place
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
        self.acts: Counter[Place] = Counter()
        """How often it has come to each place."""
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

    async def act(self, at: Place, do: Callable[[], Awaitable[T]]) -> T:
        """Do something outside, unless the life ends at this moment: before it, or right after.

        Raises:
            Died: It does, or is over already.
        """
        self.check()
        self.acts[at] += 1
        number = self.acts[at]
        self._reach(CrashPoint(at=at, number=number, when="before"))
        done = await do()
        self._reach(CrashPoint(at=at, number=number, when="after"))
        return done

    def _reach(self, point: CrashPoint) -> None:
        if self.point == point:
            self.end()
        self.check()

    def _tasks(self) -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks() - self._spared


class MortalStore:
    """Hands every verb on to a real store, of jobs or of orders, as long as its life lasts."""

    def __init__(self, store: Store | OrderStore, life: Life) -> None:
        self._store = store
        self._life = life

    @property
    def as_store(self) -> Store:
        """This object, for parameters that want a `Store`."""
        return cast("Store", self)

    @property
    def as_orders(self) -> OrderStore:
        """This object, for parameters that want an `OrderStore`."""
        return cast("OrderStore", self)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name.startswith("_") or not callable(found):
            return found
        return self._beat(found) if name == "beat" else self._verb(name, found)

    def _beat(self, call: Callable[..., Pulse]) -> Callable[..., Pulse]:
        # Called from the heartbeat's thread, which an exception would end loudly. Not counted: it
        # goes by the machine's time.
        def beat(*args: Any, **options: Any) -> Pulse:
            return Pulse(alive=True) if self._life.over else call(*args, **options)

        return beat

    def _verb(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **options: Any) -> Any:
            if name in READS:
                self._life.check()
                return await call(*args, **options)
            return await self._life.act("write", lambda: call(*args, **options))

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
        return await self._life.act("call", lambda: self._send(request))

    async def _send(self, request: ProviderRequest) -> ProviderReply:
        sent = Sent(call_id=request.call_id, body_hash=request_hash(request), life=self._number)
        self._log.sent.append(sent)
        reply = await self._provider.complete(request)
        # Charged from here on, even if nobody is left to hear the answer.
        sent.usage = reply.usage
        await _in_flight()
        return reply

    def stream(self, request: ProviderRequest) -> AsyncGenerator[str | ProviderReply, None]:
        raise NotImplementedError("crash tests do not stream")

    async def close(self) -> None:
        """Do nothing: the provider outlives this life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An e-mail as the mail server remembers it."""

    message_id: str
    life: int
    """Which life handed it over, from 1."""


class MailLog:
    """The mail server's own account of all lives: what customers have in their mailboxes."""

    def __init__(self) -> None:
        self.received: list[Received] = []

    def lives_of(self, message_id: str) -> list[int]:
        """Return which lives handed this e-mail over, in order."""
        return [each.life for each in self.received if each.message_id == message_id]


class MortalMailer:
    """Hands e-mails over as long as its life lasts, and has each of them on the server's log."""

    def __init__(self, mailer: Mailer, life: Life, log: MailLog, *, number: int) -> None:
        """Join the parts.

        Args:
            mailer: Knows who the e-mails are from, and takes them.
            life: Ends at its crash point.
            log: Outlives all lives.
            number: Which life this is, from 1.
        """
        self._mailer = mailer
        self._life = life
        self._log = log
        self._number = number

    @property
    def sender(self) -> Sender:
        return self._mailer.sender

    async def send(self, mail: Mail) -> None:
        await self._life.act("mail", lambda: self._hand_over(mail))

    async def _hand_over(self, mail: Mail) -> None:
        await self._mailer.send(mail)
        # The customer has it from here on, even if nobody is left to hear so.
        self._log.received.append(Received(message_id=mail.message_id, life=self._number))
        await _in_flight()

    async def check(self) -> str:
        return await self._mailer.check()

    async def forget(self, address: str) -> int:
        return await self._mailer.forget(address)


async def _in_flight() -> None:
    for _ in range(_TURNS_IN_FLIGHT):
        await asyncio.sleep(0)
