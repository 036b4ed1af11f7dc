"""Importable step and undo functions for the tests: undo works by name."""

from typing import Any

from holdfast.errors import FatalError
from holdfast.model import RetryPolicy

TWICE = RetryPolicy(attempts=2, base_seconds=0)


class Book:
    """What was done and taken back, in order."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.broken: set[str] = set()
        """Names whose undo fails."""
        self.hooks: dict[str, Any] = {}
        """Awaited by the undo of a name."""

    def clear(self) -> None:
        self.lines.clear()
        self.broken.clear()
        self.hooks.clear()


BOOK = Book()


async def put(name: str) -> str:
    BOOK.lines.append(("put", name))
    return f"stored {name}"


async def put_half(name: str) -> str:
    BOOK.lines.append(("put", name))
    raise FatalError(f"{name} is half done")


async def remove(name: str) -> None:
    BOOK.lines.append(("remove", name))
    if name in BOOK.hooks:
        await BOOK.hooks[name]()
    if name in BOOK.broken:
        raise FatalError(f"{name} is stuck")


async def remove_result(name: str, result: str | None) -> None:
    BOOK.lines.append(("remove", name, result))


def remove_in_thread(name: str) -> None:
    BOOK.lines.append(("remove", name))


def remove_by_keyword(*, name: str = "", result: Any = None) -> None:
    BOOK.lines.append(("remove", name, result))


def remove_numbered(number: int) -> None:
    BOOK.lines.append(("remove", number))
