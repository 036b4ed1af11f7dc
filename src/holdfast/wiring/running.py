"""How an entry point runs a coroutine, and where it must not."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_GC_THRESHOLDS = (20_000, 20, 20)

T = TypeVar("T")


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the fastest event loop there is; for entry points.

    The process is tuned for many small live objects: collecting garbage as often as Python does
    by default would cost a busy worker a quarter of its time.
    """
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        # Not made for this platform; asyncio's own loop does the same more slowly.
        return None
    return uvloop.new_event_loop


def refuse_in_loop() -> None:
    """Refuse to run an application where an event loop runs already.

    Raises:
        ConfigError: One does.
    """
    refuse_in_child()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigError(
        "App.run was called while an event loop is running",
        hint="in async code write: async with app.worker() as client: …",
    )


def refuse_in_child() -> None:
    """Refuse to run an application in a child that only wants to import one of its functions."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name == "holdfast.engine.child":
        raise ConfigError(
            "the script ran its main part while a child process imported it for an isolated step",
            hint="put what starts the application behind: if __name__ == '__main__':",
        )
