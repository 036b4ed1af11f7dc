"""Is stored content sealed, and can it be opened?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli.finding import Finding
from holdfast.errors import HoldfastError, SealedValueError
from holdfast.store.base import JobQuery
from holdfast.store.sealed_values import Sealer

if TYPE_CHECKING:
    from holdfast.model import Job
    from holdfast.sealing import Keyring
    from holdfast.settings import Settings
    from holdfast.store.base import Store

_NEWEST = 20
"""Jobs that are looked at: an older key may be in use by older ones."""


async def sealing(settings: Settings, store: Store) -> Finding:
    """Return what the keys are, and whether the newest jobs open with them."""
    from holdfast.wiring import keyring_of

    try:
        keys = keyring_of(settings)
        newest = await store.list_jobs(JobQuery(limit=_NEWEST))
    except HoldfastError as error:
        return Finding("storage", "sealing", "problem", error.message, error.hint)
    closed = [refusal for job in newest if (refusal := _refusal(job, keys)) is not None]
    if closed:
        told = f"{len(closed)} of the newest {len(newest)} jobs cannot be opened: {closed[0].message}"
        return Finding("storage", "sealing", "problem", told, closed[0].hint)
    if not keys.seals:
        return Finding("storage", "sealing", "ok", "off, so content lies in the store in the clear")
    first, *others = keys.key_ids
    opens = f"; {', '.join(others)} can be opened, too" if others else ""
    return Finding("storage", "sealing", "ok", f"with key {first}{opens}")


def _refusal(job: Job, keys: Keyring) -> SealedValueError | None:
    try:
        Sealer(keys).open_job(job)
    except SealedValueError as error:
        return error
    return None
