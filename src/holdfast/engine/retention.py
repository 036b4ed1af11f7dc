"""Deleting jobs with their files."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.errors import ArtifactError
from holdfast.store.base import PruneRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.artifacts.base import ArtifactStore
    from holdfast.store.base import Store

logger = logging.getLogger(__name__)

_DELETES_AT_ONCE = 100
_LOOKUPS_AT_ONCE = 500


@dataclass(slots=True, kw_only=True)
class Removal:
    """What was deleted so far."""

    job_ids: list[str] = field(default_factory=list)
    """Jobs, with all that was on record of them."""
    files: int = 0
    """Files that no other job refers to."""
    files_left: set[str] = field(default_factory=set)
    """SHA-256 of such files that are there still: the storage refused, or they were stored, perhaps by
    another job, a moment ago. `Retention.collect_files` finds them later."""
    more: bool = False
    """Whether another call may find more."""


class Retention:
    """Deletes what shall not be kept any longer."""

    def __init__(self, store: Store, artifacts: ArtifactStore) -> None:
        self._store = store
        self._artifacts = artifacts

    async def prune(self, request: PruneRequest) -> Removal:
        """Delete jobs in one small transaction, then the files that only they referred to.

        Raises:
            InvalidInputError: See `Store.prune_jobs`.
            StoreError: Nothing was deleted, or the outcome is unknown.
        """
        pruned = await self._store.prune_jobs(request)
        removal = Removal(job_ids=list(pruned.job_ids), more=pruned.more)
        await self._delete(pruned.unreferenced, removal)
        return removal

    async def collect_files(self, *, dry_run: bool = False) -> Removal:
        """Delete files that no job refers to, such as those of a process that died after `prune_jobs`.

        Args:
            dry_run: Only count them.

        Raises:
            ArtifactError: The storage cannot be listed.
        """
        removal = Removal()
        async for page in self._artifacts.settled():
            if dry_run:
                removal.files += len(await self._unreferenced(page))
            else:
                await self.delete_files(page, removal)
        return removal

    async def delete_files(self, files: Sequence[str], removal: Removal) -> None:
        """Delete those of the files that no job refers to, and note it in `removal`."""
        await self._delete(await self._unreferenced(files), removal)

    async def _unreferenced(self, files: Sequence[str]) -> Sequence[str]:
        found: list[str] = []
        for start in range(0, len(files), _LOOKUPS_AT_ONCE):
            request = PruneRequest(files=tuple(files[start : start + _LOOKUPS_AT_ONCE]))
            found += (await self._store.prune_jobs(request)).unreferenced
        return found

    async def _delete(self, files: Sequence[str], removal: Removal) -> None:
        for start in range(0, len(files), _DELETES_AT_ONCE):
            some = files[start : start + _DELETES_AT_ONCE]
            gone = await asyncio.gather(*map(self._delete_file, some))
            removal.files += sum(gone)
            removal.files_left.update(
                each for each, is_gone in zip(some, gone, strict=True) if not is_gone
            )

    async def _delete_file(self, sha256: str) -> bool:
        try:
            return await self._artifacts.delete(sha256, settled_only=True)
        except ArtifactError as error:
            logger.warning("file not deleted", extra={"sha256": sha256, "error": error.code})
            return False
