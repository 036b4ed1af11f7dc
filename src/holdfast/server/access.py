"""Who may do what: keys, what they allow, and whose jobs they reach."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from holdfast.errors import InvalidInputError
from holdfast.ids import new_secret
from holdfast.store.base import RESERVED_KIND_PREFIX
from holdfast.store.service import ApiKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from holdfast.model import Job

_PREFIX = "hf"
_ID_CHARACTERS = 10
_KEY = re.compile(rf"(?P<key_id>{_PREFIX}_[0-9A-Z]{{{_ID_CHARACTERS}}})_.+")


class Action(StrEnum):
    """What a key may allow; each stands for itself."""

    SUBMIT = "submit"
    """Submit and fork jobs."""
    READ = "read"
    """See that jobs exist: status, progress, steps, usage and money."""
    CONTENT = "content"
    """See what jobs hold: inputs, outputs, events, artifacts, labels of progress."""
    CONTROL = "control"
    """Cancel, retry and signal jobs, change their budget."""
    WEBHOOKS = "webhooks"
    """Say where the ends of jobs are told; see and steer the deliveries, which are jobs, too."""
    ADMIN = "admin"
    """See workers, queues, lanes and metrics, and manage keys."""


ALL_ACTIONS = frozenset(Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """On whose behalf a request is made."""

    name: str
    """For logs and pages: the id of a key, or who else."""
    actions: frozenset[Action]
    tenant: str | None = None
    """The only tenant whose jobs it reaches; None for those of all tenants."""
    kinds: frozenset[str] | None = None
    """The only kinds it reaches; None for all."""
    job_id: str | None = None
    """The only job it reaches; None for all."""

    def sees(self, job: Job) -> bool:
        """Whether the job is within reach; one that is not does not exist for this principal."""
        return (
            (self.tenant is None or job.tenant == self.tenant)
            and self.sees_kind(job.kind)
            and (self.job_id is None or job.job_id == self.job_id)
        )

    def sees_kind(self, kind: str) -> bool:
        """Whether jobs of this kind are within reach.

        Those of Holdfast's own kinds tell webhooks: whoever could steer them would steer webhooks.
        """
        if kind.startswith(RESERVED_KIND_PREFIX) and Action.WEBHOOKS not in self.actions:
            return False
        return self.kinds is None or kind in self.kinds

    def covers(self, key: ApiKey) -> bool:
        """Whether a key reaches and does nothing that this principal does not."""
        return (
            (self.tenant is None or key.tenant == self.tenant)
            and (self.kinds is None or (key.kinds is not None and self.kinds.issuperset(key.kinds)))
            and self.actions.issuperset(key.actions)
        )


OPERATOR = Principal(name="local", actions=ALL_ACTIONS)
"""Whoever is on this machine, where access is open."""


def make_key(
    *,
    name: str,
    actions: Iterable[Action],
    at: datetime,
    tenant: str | None = None,
    kinds: Iterable[str] | None = None,
    lifetime: timedelta | None = None,
) -> tuple[str, ApiKey]:
    """Return a new key, to be shown once, and what is kept of it.

    Raises:
        InvalidInputError: It allows nothing, or has no name.
    """
    allowed = tuple(sorted(set(actions)))
    if not name.strip() or not allowed:
        raise InvalidInputError(
            f"key {name!r} with actions {list(allowed)!r} is of no use",
            hint="give it a name and at least one action",
        )
    key_id = new_secret(_PREFIX, _ID_CHARACTERS)
    key = new_secret(key_id)
    return key, ApiKey(
        key_id=key_id,
        name=name.strip(),
        digest=_digest(key),
        tenant=tenant,
        kinds=None if kinds is None else tuple(sorted(set(kinds))),
        actions=allowed,
        created_at=at,
        expires_at=None if lifetime is None else at + lifetime,
    )


def key_id_of(key: str) -> str | None:
    """Return the public part of a key; None if the text is no key of this service."""
    found = _KEY.fullmatch(key)
    return None if found is None else found["key_id"]


def principal_of(key: str, found: ApiKey | None, at: datetime) -> Principal | None:
    """Return whom a key stands for; None if it is unknown, wrong, expired or revoked."""
    if found is None or not hmac.compare_digest(found.digest, _digest(key)):
        return None
    return principal_in_force(found, at)


def principal_in_force(found: ApiKey, at: datetime) -> Principal | None:
    """Return whom a stored key stands for; None if it is expired or revoked."""
    if found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= at):
        return None
    known = {action.value for action in Action}
    return Principal(
        name=found.key_id,
        actions=frozenset(Action(action) for action in found.actions if action in known),
        tenant=found.tenant,
        kinds=None if found.kinds is None else frozenset(found.kinds),
    )


def _digest(key: str) -> bytes:
    # A key has 160 random bits: nothing is gained by a slow hash.
    return hashlib.sha256(key.encode()).digest()
