"""Who is to be told of a commit on a connection of the caller's: one listener, however many wait."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event

if TYPE_CHECKING:
    from collections.abc import Callable

_waiting: WeakKeyDictionary[Connection, list[Callable[[], None]]] = WeakKeyDictionary()


def before_commit(connection: Connection, committing: Callable[[], None]) -> None:
    """Have `committing` called once, as the connection's transaction is about to be committed.

    A rollback forgets it. SQLAlchemy keeps listeners as long as the connection, `once` or not.
    """
    waiting = _waiting.get(connection)
    if waiting is None:
        waiting = _waiting[connection] = []
        _listen(connection, waiting)
    waiting.append(committing)


def _listen(connection: Connection, waiting: list[Callable[[], None]]) -> None:
    def tell(_: Connection) -> None:
        told = waiting.copy()
        waiting.clear()
        for committing in told:
            committing()

    def forget(_: Connection) -> None:
        waiting.clear()

    event.listen(connection, "commit", tell)
    event.listen(connection, "rollback", forget)
