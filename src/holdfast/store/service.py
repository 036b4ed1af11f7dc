"""The seam to what the HTTP service keeps and asks beside jobs: keys, webhooks, and sums for operators.

The promises of `holdfast.store.base` hold here, too: each verb is one transaction, durable once it has
returned, without effect once it has raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from holdfast.model import Artifact, JobStatus

KEYS_MAX = 1_000
"""Keys in force at once: a list of them is one answer, and none is forgotten behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key to the service as stored: who may do what with which jobs."""

    key_id: str
    """Public part, by which it is found, listed and revoked."""
    name: str
    """What people call it."""
    digest: bytes
    """SHA-256 of the whole key; the key itself is nowhere on record."""
    tenant: str | None
    """Whose jobs it reaches; None for those of all tenants."""
    kinds: tuple[str, ...] | None
    """Which kinds of jobs it reaches; None for all."""
    actions: tuple[str, ...]
    """What it may do; the service knows what the words mean."""
    created_at: datetime
    expires_at: datetime | None = None
    """Refused from then on."""
    revoked_at: datetime | None = None
    """Refused since then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a job's log of events goes."""

    event_seq: int
    """Number of its last event."""
    status: JobStatus


class ServiceStore(Protocol):
    """What the service needs of the store beside `holdfast.store.base.Store`."""

    # keys --------------------------------------------------------------------------------------

    async def insert_key(self, key: ApiKey) -> None:
        """Keep a new key.

        Raises:
            InvalidInputError: Its id is taken, or there are `KEYS_MAX` keys in force.
        """
        ...

    async def find_key(self, key_id: str) -> ApiKey | None:
        """Return the key, in force or not; None if there is none with this id."""
        ...

    async def list_keys(self) -> Sequence[ApiKey]:
        """Return the keys that are not revoked, oldest first."""
        ...

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        """Refuse a key from now on; whether there was one to refuse."""
        ...

    # artifacts ---------------------------------------------------------------------------------

    async def list_artifacts(self, job_id: str) -> Sequence[Artifact]:
        """Return the files that the job has saved, oldest first; none if there is no such job."""
        ...

    async def find_artifact(self, job_id: str, name: str) -> Artifact | None:
        """Return the file of that name; None if the job has none."""
        ...

    # streams -----------------------------------------------------------------------------------

    async def find_positions(self, job_ids: Sequence[str]) -> Mapping[str, Position]:
        """Return how far the logs of these jobs go; a job that does not exist is left out.

        One look for all that a process follows, so that thousands of streams cost no more than news.
        """
        ...
