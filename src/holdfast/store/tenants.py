"""Statements on budgets of tenants: a row for each that has any, charged with all calls of its jobs.

The row stays once it is there, so that a call that was charged when it began can be booked on it when it
ends. What is reserved goes over from one period to the next; what was spent does not.
A transaction that changes the row locks it before any job's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from holdfast.errors import BudgetExceededError
from holdfast.model import Budget, BudgetPeriod, SuspendReason
from holdfast.store import hints
from holdfast.store.events import add_event
from holdfast.store.rows import (
    budget_columns,
    budget_from,
    micros,
    moment,
    money,
    money_text,
    optional_nanos,
)
from holdfast.store.service import TENANT_BUDGETS_MAX, TenantBudget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.store.base import CallIntent
    from holdfast.store.rows import Row
    from holdfast.store.transaction import Transaction

LOOK_AGAIN = timedelta(minutes=1)
"""How often a job tries again that was refused while other calls of its tenant were under way: what they
give back may be enough."""

_PERIODS = tuple(BudgetPeriod)

# An unknown price is NULL: it fits no budget in money.
_FITS = " AND ".join(
    f"({period}_budget_{what} IS NULL"
    f" OR {period}_{what} + reserved_{what} + CAST(? AS BIGINT) <= {period}_budget_{what})"
    for period in _PERIODS
    for what in ("tokens", "nanos")
)
_CHARGE = f"""
UPDATE tenant_budgets SET reserved_tokens = reserved_tokens + ?,
    reserved_nanos = reserved_nanos + COALESCE(CAST(? AS BIGINT), 0)
WHERE tenant = ? AND {_FITS}
"""
# What was spent in a period that is over is forgotten.
_ROLL_OVER = (
    "UPDATE tenant_budgets SET "
    + ", ".join(
        f"{period}_tokens = CASE WHEN {period}_at < ? THEN 0 ELSE {period}_tokens END,"
        f" {period}_nanos = CASE WHEN {period}_at < ? THEN 0 ELSE {period}_nanos END,"
        f" {period}_at = CASE WHEN {period}_at < ? THEN ? ELSE {period}_at END"
        for period in _PERIODS
    )
    + " WHERE tenant = "
)
_SPEND = ", ".join(
    f"{period}_{what} = {period}_{what} + ?" for period in _PERIODS for what in ("tokens", "nanos")
)
_BOOK = f"""
UPDATE tenant_budgets SET {_SPEND}, reserved_tokens = reserved_tokens - ?,
    reserved_nanos = reserved_nanos - ?
WHERE tenant = (SELECT tenant FROM jobs WHERE id = ?)
"""
_COLUMNS = "tenant, reserved_tokens, reserved_nanos, " + ", ".join(
    f"{period}_{name}"
    for period in _PERIODS
    for name in ("at", "tokens", "nanos", "budget_tokens", "budget_nanos")
)
_WIDTH = 5

# calls -------------------------------------------------------------------------------------------


def lock_tenant_of(tx: Transaction, row: int) -> None:
    """Lock the budgets of the tenant of the job in this row, if it has any, in the present period."""
    _lock(tx, "(SELECT tenant FROM jobs WHERE id = ?)", row)


def try_lock(tx: Transaction, tenant: str | None) -> bool:
    """Lock the tenant's budgets for one that has locked jobs before, unless another holds them."""
    found = tx.execute(
        f"SELECT 1 FROM tenant_budgets WHERE tenant = ? {tx.dialect.skip_locked}", (tenant,)
    )
    return found.fetchone() is not None


def _lock(tx: Transaction, tenant: str, argument: object) -> None:
    day, month = (micros(bounds_of(period, moment(tx.now))[0]) for period in _PERIODS)
    tx.execute(_ROLL_OVER + tenant, (day, day, day, day, month, month, month, month, argument))


def charge(tx: Transaction, tenant: str, intent: CallIntent) -> None:
    """Reserve a call's cost in the tenant's budgets.

    Raises:
        BudgetExceededError: It does not fit into one of them.
    """
    tokens, nanos = intent.reserved_tokens, optional_nanos(intent.reserved_usd)
    _lock(tx, "?", tenant)
    amounts = (tokens, nanos) * len(_PERIODS)
    if not tx.execute(_CHARGE, (tokens, nanos, tenant, *amounts)).rowcount:
        raise _refusal(tx, tenant, intent)


def book(tx: Transaction, row: int, *, used: tuple[int, int], held: tuple[int, int]) -> None:
    """Count what a charged call of the job in this row has used, and give back what it held.

    Args:
        tx: The transaction.
        row: The job's.
        used: Tokens and nano-dollars.
        held: The same, as reserved.
    """
    tx.execute(_BOOK, (*used * len(_PERIODS), *held, row))


def _refusal(tx: Transaction, tenant: str, intent: CallIntent) -> BudgetExceededError:
    row = tx.execute(f"SELECT {_COLUMNS} FROM tenant_budgets WHERE tenant = ?", (tenant,)).fetchone()
    nanos = optional_nanos(intent.reserved_usd)
    full = next(
        each for each in _budgets_of(row, tx.now) if not _fits(each, intent.reserved_tokens, nanos)
    )
    # What other calls give back is waited for only if it can be enough.
    alone = replace(full, reserved_tokens=0, reserved_usd=Decimal(0))
    soon = moment(tx.now) + LOOK_AGAIN
    until = min(soon, full.ends_at) if _fits(alone, intent.reserved_tokens, nanos) else full.ends_at
    whose = f"of tenant {tenant!r} for a {full.period}"
    if full.budget.tokens is not None and intent.reserved_tokens > _tokens_left(full):
        return BudgetExceededError(
            f"a call of step {intent.step_key!r} needs up to {intent.reserved_tokens} tokens,"
            f" {max(0, _tokens_left(full))} of {full.budget.tokens} are left in the budget {whose}",
            hint="raise it with 'holdfast budget set', or wait for the next period",
            until=until,
        )
    if intent.reserved_usd is None:
        return BudgetExceededError(
            f"the price of model {intent.model!r} is unknown, so step {intent.step_key!r} cannot be"
            f" held to the budget in US dollars {whose}",
            hint="give the model a price, or the tenant a budget in tokens only",
        )
    return BudgetExceededError(
        f"a call of step {intent.step_key!r} may cost {format(intent.reserved_usd, 'f')} US dollars,"
        f" {max(Decimal(0), _usd_left(full)):f} of {full.budget.usd:f} are left in the budget {whose}",
        hint="raise it with 'holdfast budget set', or wait for the next period",
        until=until,
    )


def _tokens_left(found: TenantBudget) -> int:
    return (found.budget.tokens or 0) - found.used_tokens - found.reserved_tokens


def _usd_left(found: TenantBudget) -> Decimal:
    return (found.budget.usd or Decimal(0)) - found.spent_usd - found.reserved_usd


def _fits(found: TenantBudget, tokens: int, nanos: int | None) -> bool:
    if found.budget.tokens is not None and tokens > _tokens_left(found):
        return False
    if found.budget.usd is None:
        return True
    return nanos is not None and money(nanos) <= _usd_left(found)


# budgets -----------------------------------------------------------------------------------------


def set_budget(tx: Transaction, tenant: str, period: BudgetPeriod, budget: Budget) -> TenantBudget:
    """See `ServiceStore.set_tenant_budget`."""
    # It becomes a part of statements.
    period = BudgetPeriod(period)
    nanos, tokens = budget_columns(budget)
    tx.execute("INSERT INTO tenant_budgets (tenant) VALUES (?) ON CONFLICT DO NOTHING", (tenant,))
    _lock(tx, "?", tenant)
    tx.execute(
        f"UPDATE tenant_budgets SET {period}_budget_nanos = ?, {period}_budget_tokens = ?"
        " WHERE tenant = ?",
        (nanos, tokens, tenant),
    )
    _let_jobs_try_again(
        tx, tenant, {"tenant": tenant, "period": period, "usd": money_text(nanos), "tokens": tokens}
    )
    return next(found for found in _read(tx, " WHERE tenant = ?", tenant) if found.period is period)


def _let_jobs_try_again(tx: Transaction, tenant: str, fields: object) -> None:
    """Tell the tenant's jobs of the change, so that none goes to sleep for what it no longer lacks.

    Jobs that are queued are left out: what they are refused, they are refused by the new budget.
    """
    told = tx.execute(
        "UPDATE jobs SET event_seq = event_seq + 1, wake_seq = event_seq + 1 WHERE id IN"
        " (SELECT id FROM jobs WHERE status IN ('running', 'suspended') AND tenant = ?"
        f" ORDER BY id DESC {tx.dialect.for_update}) RETURNING id, job_id, event_seq",
        (tenant,),
    ).fetchall()
    for row, job_id, seq in told:
        add_event(tx, row, seq, "budget.changed", fields)
        tx.topics.add(job_id)
    # Those that wait for it are due now; the waker queues them, a thousand at a time.
    tx.execute(
        "UPDATE jobs SET available_at = ? WHERE status = 'suspended' AND tenant = ?"
        " AND suspend_reason IN (?, ?) AND COALESCE(available_at, ?) > ?",
        (tx.now, tenant, SuspendReason.BUDGET, SuspendReason.QUOTA, tx.now + 1, tx.now),
    )
    tx.topics.add(hints.SIGNAL)


def list_budgets(tx: Transaction, tenant: str | None) -> list[TenantBudget]:
    """See `ServiceStore.list_tenant_budgets`."""
    found = _read(tx) if tenant is None else _read(tx, " WHERE tenant = ?", tenant)
    return [each for each in found if each.budget != Budget()]


def _read(tx: Transaction, where: str = "", *arguments: str) -> list[TenantBudget]:
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM tenant_budgets{where} ORDER BY tenant LIMIT ?",
        (*arguments, TENANT_BUDGETS_MAX),
    )
    return [each for row in rows.fetchall() for each in _budgets_of(row, tx.now)]


def _budgets_of(row: Row, now: int) -> Iterator[TenantBudget]:
    tenant, reserved_tokens, reserved_nanos, *columns = row
    for place, period in enumerate(_PERIODS):
        at, tokens, nanos, budget_tokens, budget_nanos = columns[_WIDTH * place : _WIDTH * (place + 1)]
        begins_at, ends_at = bounds_of(period, moment(now))
        # Sums of an earlier period are there until the next call.
        over = at < micros(begins_at)
        yield TenantBudget(
            tenant=tenant,
            period=period,
            budget=budget_from(budget_nanos, budget_tokens),
            begins_at=begins_at,
            ends_at=ends_at,
            used_tokens=0 if over else tokens,
            spent_usd=money(0 if over else nanos),
            reserved_tokens=reserved_tokens,
            reserved_usd=money(reserved_nanos),
        )


def bounds_of(period: BudgetPeriod, at: datetime) -> tuple[datetime, datetime]:
    """Return begin and end of the period, by the calendar in UTC, that `at` is in."""
    begun = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if period is BudgetPeriod.DAY:
        return begun, begun + timedelta(days=1)
    begun = begun.replace(day=1)
    return begun, (begun + timedelta(days=31)).replace(day=1)
