"""The service's verbs, on the connections of a `SqlStore`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from holdfast.errors import SealedValueError
from holdfast.sealing import Keyring
from holdfast.store import artifacts, insight, keys, tenants, webhooks
from holdfast.store.bounds import check_name
from holdfast.store.positions import find_positions
from holdfast.store.sealed_values import Sealer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from holdfast.model import Artifact, Budget, BudgetPeriod, Job
    from holdfast.store.service import (
        ApiKey,
        LaneUse,
        Position,
        QueueState,
        Spend,
        SpendQuery,
        TenantBudget,
        Webhook,
        WebhookSecrets,
        WorkerState,
    )
    from holdfast.store.transaction import Connection, Dialect, Transaction

T = TypeVar("T")


class Write(Protocol):
    """Runs an operation; done once it is committed."""

    def __call__(self, operation: Callable[[Transaction], T], /) -> Awaitable[T]: ...


class Read(Protocol):
    """Gives what a query finds in the state after the last commit."""

    def __call__(self, query: Callable[[Connection], T], /) -> Awaitable[T]: ...


class SqlServiceStore:
    """`holdfast.store.service.ServiceStore` beside the store of the same database."""

    def __init__(
        self, write: Write, read: Read, dialect: Dialect, keyring: Keyring | None = None
    ) -> None:
        """Share the connections of a store; secrets are sealed by `keyring`, if it seals."""
        self._write = write
        self._read = read
        self._dialect = dialect
        self._sealer = Sealer(keyring or Keyring())

    def sealed_by(self, keyring: Keyring) -> SqlServiceStore:
        """Return the same with its secrets sealed by `keyring`."""
        return SqlServiceStore(self._write, self._read, self._dialect, keyring)

    # keys --------------------------------------------------------------------------------------

    async def insert_key(self, key: ApiKey) -> None:
        await self._write(lambda tx: keys.insert_key(tx, key))

    async def find_key(self, key_id: str) -> ApiKey | None:
        return await self._read(lambda connection: keys.find_key(connection, key_id))

    async def list_keys(self) -> Sequence[ApiKey]:
        return await self._read(keys.list_keys)

    async def revoke_key(self, key_id: str, at: datetime) -> bool:
        return await self._write(lambda tx: keys.revoke_key(tx, key_id, at))

    # budgets -----------------------------------------------------------------------------------

    async def set_tenant_budget(self, tenant: str, period: BudgetPeriod, budget: Budget) -> TenantBudget:
        check_name("tenant", tenant)
        return await self._write(lambda tx: tenants.set_budget(tx, tenant, period, budget))

    async def list_tenant_budgets(self, tenant: str | None = None) -> Sequence[TenantBudget]:
        if tenant is not None:
            check_name("tenant", tenant)
        # By a write, which knows the store's time: what was spent is of the present period.
        return await self._write(lambda tx: tenants.list_budgets(tx, tenant))

    # artifacts ---------------------------------------------------------------------------------

    async def list_artifacts(self, job_id: str) -> Sequence[Artifact]:
        return await self._read(lambda connection: artifacts.list_artifacts(connection, job_id))

    async def find_artifact(self, job_id: str, name: str) -> Artifact | None:
        return await self._read(lambda connection: artifacts.find_artifact(connection, job_id, name))

    # webhooks ----------------------------------------------------------------------------------

    async def insert_webhook(self, webhook: Webhook, secrets: WebhookSecrets) -> None:
        await self._write(lambda tx: webhooks.insert_webhook(tx, webhook, secrets, self._sealer))

    async def find_webhook(self, webhook_id: str) -> Webhook | None:
        return await self._read(lambda connection: webhooks.find_webhook(connection, webhook_id))

    async def list_webhooks(
        self, *, tenant: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Webhook]:
        return await self._read(
            lambda connection: webhooks.list_webhooks(connection, tenant, after, limit)
        )

    async def find_webhook_secrets(self, webhook_id: str) -> WebhookSecrets | None:
        return await self._read(
            lambda connection: webhooks.find_webhook_secrets(connection, webhook_id, self._sealer)
        )

    async def set_webhook_secrets(self, webhook_id: str, secrets: WebhookSecrets) -> bool:
        return await self._write(
            lambda tx: webhooks.set_webhook_secrets(tx, webhook_id, secrets, self._sealer)
        )

    async def delete_webhook(self, webhook_id: str) -> bool:
        return await self._write(lambda tx: webhooks.delete_webhook(tx, webhook_id))

    async def list_deliveries(
        self, webhook_id: str, *, before: str | None = None, limit: int = 50
    ) -> Sequence[Job]:
        found = await self._read(
            lambda connection: webhooks.list_deliveries(connection, webhook_id, before, limit)
        )
        return [self._shown(job) for job in found]

    def _shown(self, job: Job) -> Job:
        """Open a delivery; how one went that cannot be opened is left out."""
        try:
            return self._sealer.open_job(job)
        except SealedValueError:
            return self._sealer.open_job(replace(job, output=None, error=None))

    # streams -----------------------------------------------------------------------------------

    async def find_positions(self, job_ids: Sequence[str]) -> Mapping[str, Position]:
        return await self._read(lambda connection: find_positions(connection, job_ids))

    # for operators -----------------------------------------------------------------------------

    async def list_queues(self, at: datetime) -> Sequence[QueueState]:
        return await self._read(lambda connection: insight.list_queues(connection, self._dialect, at))

    async def list_workers(self) -> Sequence[WorkerState]:
        return await self._read(insight.list_workers)

    async def list_lanes(self, at: datetime) -> Sequence[LaneUse]:
        return await self._read(lambda connection: insight.list_lanes(connection, at))

    async def sum_spend(self, query: SpendQuery) -> Sequence[Spend]:
        return await self._read(lambda connection: insight.sum_spend(connection, query))
