"""What statements are run on: one transaction, on whatever database is behind it.

Statements are written once, in the SQL that SQLite and PostgreSQL share, with `?` for
parameters. The few words that differ are in `Dialect`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Arguments = Sequence[Any] | Mapping[str, Any]


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows written or found."""
        ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The words in which the two databases differ."""

    skip_locked: str
    """Ends a SELECT of rows to be changed that passes over those another transaction holds."""
    for_update: str
    """Ends a SELECT of rows to be changed that waits for those another transaction holds."""
    for_key_share: str
    """Ends a SELECT of rows that must not be deleted before this transaction ends."""
    empty_object: str
    """The bytes of `{}`."""
    delta_key: str
    """The step key in the data of an `output.delta` event."""
    indexes_named: bool
    """Whether a statement can and must name its index."""

    def indexed_by(self, index: str) -> str:
        """Name the index, for a planner that left to itself would sort all rows."""
        return f"INDEXED BY {index}" if self.indexes_named else ""


SQLITE = Dialect(
    # One writer at a time: what it has read stays so until it commits.
    skip_locked="",
    for_update="",
    for_key_share="",
    empty_object="CAST('{}' AS BLOB)",
    delta_key="json_extract(CAST(data AS TEXT), '$.key')",
    indexes_named=True,
)

POSTGRESQL = Dialect(
    skip_locked="FOR UPDATE SKIP LOCKED",
    for_update="FOR UPDATE",
    for_key_share="FOR KEY SHARE",
    empty_object="'{}'::bytea",
    delta_key="(convert_from(data, 'UTF8')::json ->> 'key')",
    indexes_named=False,
)


class Connection(Protocol):
    """Where reads are run."""

    def execute(self, sql: str, arguments: Any = (), /) -> Cursor: ...


class Transaction(Protocol):
    """What an operation works with: statements, the time, and the hints to give after commit.

    An operation may run twice, so it changes nothing but the database.
    """

    now: int
    """The store's time in microseconds, one for the whole transaction."""
    topics: set[str]
    """Hints to publish once this is committed."""
    dialect: Dialect

    @property
    def execute(self) -> Any:
        """Run a statement: `execute(sql, arguments=()) -> Cursor`."""
        ...

    @property
    def executemany(self) -> Any:
        """Run a statement for each of many arguments; what it gives is of no use."""
        ...

    def serialize(self, name: str) -> None:
        """Wait until no other transaction that named `name` is under way."""
        ...

    def try_serialize(self, name: str) -> bool:
        """Keep others that name `name` waiting, unless one of them came first: then return False."""
        ...
