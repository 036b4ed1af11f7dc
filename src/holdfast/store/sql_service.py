"""The service's verbs, on the connections of a `SqlStore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from holdfast.store import artifacts, keys
from holdfast.store.positions import find_positions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from holdfast.model import Artifact
    from holdfast.store.service import ApiKey, Position
    from holdfast.store.transaction import Connection, Transaction

T = TypeVar("T")


class Write(Protocol):
    """Runs an operation; done once it is committed."""

    def __call__(self, operation: Callable[[Transaction], T], /) -> Awaitable[T]: ...


class Read(Protocol):
    """Gives what a query finds in the state after the last commit."""

    def __call__(self, query: Callable[[Connection], T], /) -> Awaitable[T]: ...


class SqlServiceStore:
    """`holdfast.store.service.ServiceStore` beside the store of the same database."""

    def __init__(self, write: Write, read: Read) -> None:
        """Share the connections of a store."""
        self._write = write
        self._read = read

    # keys --------------------------------------------------------------------------------------

    async def insert_key(self, key: ApiKey) -> None:
        await self._write(lambda tx: keys.insert_key(tx, key))

    async def find_key(self, key_id: str) -> ApiKey | None:
        return await self._read(lambda connection: keys.find_key(connection, key_id))

    async def list_keys(self) -> Sequence[ApiKey]:
        return await self._read(keys.list_keys)

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        return await self._write(lambda tx: keys.revoke_key(tx, key_id, at))

    # artifacts ---------------------------------------------------------------------------------

    async def list_artifacts(self, job_id: str) -> Sequence[Artifact]:
        return await self._read(lambda connection: artifacts.list_artifacts(connection, job_id))

    async def find_artifact(self, job_id: str, name: str) -> Artifact | None:
        return await self._read(lambda connection: artifacts.find_artifact(connection, job_id, name))

    # streams -----------------------------------------------------------------------------------

    async def find_positions(self, job_ids: Sequence[str]) -> Mapping[str, Position]:
        return await self._read(lambda connection: find_positions(connection, job_ids))
