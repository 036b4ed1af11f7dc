"""A store that fails on purpose: at a named verb or at the n-th, before or after its commit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.store.base import Store


@dataclass(kw_only=True)
class Fault:
    """One thing that goes wrong, as often as told."""

    action: BaseException | Callable[[], object]
    """Raised, or called – such as `lambda: os.kill(os.getpid(), signal.SIGKILL)`."""
    verb: str | None = None
    """Name of the store's verb; None for any."""
    when: Literal["before", "after"] = "before"
    """Before the verb reaches the store, or after it has committed and before the caller knows."""
    skip: int = 0
    """How many matching calls pass unharmed first."""
    times: int = 1
    """How many matching calls it then spoils."""
    matches: Callable[..., bool] = field(default=lambda *_args, **_options: True)
    """Tells by the verb's arguments whether a call counts."""

    def strikes(self, verb: str, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
        """Count the call and tell whether it is to be spoilt."""
        if self.verb not in (None, verb) or not self.times or not self.matches(*args, **options):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True

    def strike(self) -> None:
        """Do the damage."""
        if isinstance(self.action, BaseException):
            raise self.action
        self.action()


class FaultyStore:
    """Hands every verb on to a real store, unless a fault is due.

    Not a `Store` to the type checker, because it hands on by name; see `as_store`.
    """

    def __init__(self, store: Store, *faults: Fault) -> None:
        self.faults = list(faults)
        self.calls: list[str] = []
        """Names of the verbs called, spoilt ones included."""
        self._store = store

    @property
    def as_store(self) -> Store:
        """This object, for parameters that want a `Store`."""
        return cast("Store", self)

    def add(self, fault: Fault) -> Fault:
        """Have something more go wrong, from now on."""
        self.faults.append(fault)
        return fault

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name.startswith("_") or not callable(found):
            return found
        return self._blocking(name, found) if name == "beat" else self._awaited(name, found)

    def _awaited(self, verb: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def spoilt(*args: Any, **options: Any) -> Any:
            due = self._due(verb, args, options)
            for fault in due:
                if fault.when == "before":
                    fault.strike()
            answer = await call(*args, **options)
            for fault in due:
                if fault.when == "after":
                    fault.strike()
            return answer

        return spoilt

    def _blocking(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def spoilt(*args: Any, **options: Any) -> Any:
            due = self._due(verb, args, options)
            for fault in due:
                if fault.when == "before":
                    fault.strike()
            answer = call(*args, **options)
            for fault in due:
                if fault.when == "after":
                    fault.strike()
            return answer

        return spoilt

    def _due(self, verb: str, args: tuple[Any, ...], options: dict[str, Any]) -> list[Fault]:
        self.calls.append(verb)
        return [fault for fault in self.faults if fault.strikes(verb, args, options)]
