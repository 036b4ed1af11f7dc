"""Statements on the ledger of provider calls and the sums on the job's row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import BudgetExceededError, InvalidInputError
from holdfast.model import CallStatus
from holdfast.store.events import add_event, lease_lost
from holdfast.store.families import ancestors
from holdfast.store.rows import money_text, optional_nanos
from holdfast.store.tenants import book, charge, lock_tenant_of

if TYPE_CHECKING:
    from holdfast.model import Lease
    from holdfast.store.base import CallIntent, CallOutcome
    from holdfast.store.transaction import Transaction

# An unknown price is NULL: it fits no budget in money.
_RESERVE = """
UPDATE jobs SET reserved_calls = reserved_calls + 1, reserved_tokens = reserved_tokens + ?,
    reserved_nanos = reserved_nanos + COALESCE(CAST(? AS BIGINT), 0)
WHERE id = ?
    AND (budget_tokens IS NULL
        OR input_tokens + output_tokens + uncertain_tokens + reserved_tokens + ? <= budget_tokens)
    AND (budget_nanos IS NULL
        OR spent_nanos + uncertain_nanos + reserved_nanos + CAST(? AS BIGINT) <= budget_nanos)
"""
_FENCE = " AND epoch = ? AND status = 'running'"

_INTENT = """
INSERT INTO calls (job, call_id, step_key, step_attempt, epoch, provider, model, status,
    reserved_tokens, reserved_nanos, started_at, charged)
VALUES (?, ?, ?, ?, ?, ?, ?, 'reserved', ?, ?, ?, ?)
"""

_BOOK = """
UPDATE jobs SET event_seq = event_seq + ?, calls = calls + 1, input_tokens = input_tokens + ?,
    cached_tokens = cached_tokens + ?, output_tokens = output_tokens + ?,
    spent_nanos = spent_nanos + ?, unpriced_calls = unpriced_calls + ?,
    {held}_calls = {held}_calls - 1, {held}_tokens = {held}_tokens - ?,
    {held}_nanos = {held}_nanos - ?
WHERE id = ? RETURNING event_seq
"""
_BOOKS = {held: _BOOK.format(held=held) for held in ("reserved", "uncertain")}

_CLOSE = """
UPDATE calls SET status = ?, input_tokens = ?, cached_tokens = ?, output_tokens = ?, nanos = ?,
    response_id = ?, error_code = ?, ended_at = ? WHERE job = ? AND call_id = ?
"""


# What there is to know before anything is written, in one look: whether the call is there already,
# and whether the job's tenant has budgets.
_LOOK = """
SELECT EXISTS (SELECT 1 FROM calls WHERE job = jobs.id AND call_id = ? AND calls.epoch = jobs.epoch),
    (SELECT tenant FROM tenant_budgets WHERE tenant = jobs.tenant)
FROM jobs WHERE id = ? AND epoch = ? AND status = 'running'
"""

_HELD = "SELECT 1 FROM jobs WHERE id = ? AND epoch = ? AND status = 'running'"


def reserve_call(tx: Transaction, lease: Lease, intent: CallIntent, *, alone: bool) -> bool:
    """See `Store.reserve_call`.

    Returns:
        Whether it is done. If not, nothing was written, for the tenant has budgets: rows that other
        processes write to as well, so that it has to be done `alone`.
    """
    nanos = optional_nanos(intent.reserved_usd)
    found = tx.execute(_LOOK, (intent.call_id, lease.row, lease.epoch)).fetchone()
    if found is None:
        raise lease_lost(lease)
    known, tenant = found
    if known:
        # The caller lost the reply and asks again: the intent is there.
        return True
    if tenant is not None:
        if not alone:
            return False
        charge(tx, tenant, intent)
    tokens = intent.reserved_tokens
    amounts = (tokens, nanos)
    if lease.parent is not None:
        # The youngest is locked first, as everywhere.
        held = tx.execute(f"{_HELD} {tx.dialect.for_update}", (lease.row, lease.epoch)).fetchone()
        if held is None:
            raise lease_lost(lease)
    # Ancestors are charged first: a refusal by the only one then leaves nothing to take back.
    for row in ancestors(tx, lease.parent):
        if not tx.execute(_RESERVE, (*amounts, row, *amounts)).rowcount:
            raise _refusal(tx, row, intent)
    fenced = (*amounts, lease.row, *amounts, lease.epoch)
    if not tx.execute(_RESERVE + _FENCE, fenced).rowcount:
        held = tx.execute(_HELD, (lease.row, lease.epoch)).fetchone()
        raise lease_lost(lease) if held is None else _refusal(tx, lease.row, intent)
    tx.execute(
        _INTENT,
        (
            *(lease.row, intent.call_id, intent.step_key, intent.step_attempt, lease.epoch),
            *(intent.provider, intent.model, tokens, nanos, tx.now, int(tenant is not None)),
        ),
    )
    return True


def _refusal(tx: Transaction, row: int, intent: CallIntent) -> BudgetExceededError:
    """Return why nothing was reserved on the job of this row."""
    job_id, tokens, tokens_left, nanos, nanos_left = tx.execute(
        "SELECT job_id, budget_tokens, budget_tokens - input_tokens - output_tokens - uncertain_tokens"
        " - reserved_tokens, budget_nanos, budget_nanos - spent_nanos - uncertain_nanos - reserved_nanos"
        " FROM jobs WHERE id = ?",
        (row,),
    ).fetchone()
    if tokens is not None and intent.reserved_tokens > tokens_left:
        return BudgetExceededError(
            f"a call of step {intent.step_key!r} needs up to {intent.reserved_tokens} tokens,"
            f" {max(0, tokens_left)} of {tokens} are left in the budget of job {job_id!r}",
            hint="raise the budget, or lower max_output_tokens",
        )
    budget = money_text(nanos)
    if intent.reserved_usd is None:
        return BudgetExceededError(
            f"the price of model {intent.model!r} is unknown, so step {intent.step_key!r} cannot be"
            f" held to the budget of {budget} US dollars of job {job_id!r}",
            hint="give the model a price, or the job a budget in tokens only",
        )
    return BudgetExceededError(
        f"a call of step {intent.step_key!r} may cost {format(intent.reserved_usd, 'f')} US dollars,"
        f" {money_text(max(0, nanos_left))} of {budget} are left in the budget of job {job_id!r}",
        hint="raise the budget, or pick a smaller model",
    )


def settle_call(
    tx: Transaction, lease: Lease, call_id: str, outcome: CallOutcome, *, alone: bool
) -> bool:
    """See `Store.settle_call`.

    Returns:
        Whether it is done; see `reserve_call`.
    """
    nanos = optional_nanos(outcome.usd)
    if alone:
        lock_tenant_of(tx, lease.row)
    # The job's row first: a call that another transaction is just settling is read after that.
    held = tx.execute(f"{_HELD} {tx.dialect.for_update}", (lease.row, lease.epoch)).fetchone()
    if held is None:
        raise lease_lost(lease)
    found = tx.execute(
        "SELECT status, reserved_tokens, reserved_nanos, step_key, model, charged FROM calls"
        " WHERE job = ? AND call_id = ?",
        (lease.row, call_id),
    ).fetchone()
    if found is None:
        raise InvalidInputError(f"call {call_id!r} of job {lease.job_id!r} was never reserved")
    status, reserved_tokens, reserved_nanos, step_key, model, charged = found
    if status not in _BOOKS:
        return True
    # What an uncertain call can have used was counted for its tenant when it became uncertain.
    if charged and status == CallStatus.RESERVED:
        if not alone:
            return False
        spent = (outcome.input_tokens + outcome.output_tokens, nanos or 0)
        book(tx, lease.row, used=spent, held=(reserved_tokens, reserved_nanos or 0))
    # An uncertain call is settled by a later attempt that found the provider's answer to it.
    counts = (outcome.input_tokens, outcome.cached_tokens, outcome.output_tokens)
    booked = (*counts, nanos or 0, int(nanos is None), reserved_tokens, reserved_nanos or 0)
    seq = tx.execute(_BOOKS[status], (1, *booked, lease.row)).fetchone()[0]
    for row in ancestors(tx, lease.parent):
        tx.execute(_BOOKS[status], (0, *booked, row))
    ended = (outcome.response_id, outcome.error_code, tx.now, lease.row, call_id)
    tx.execute(_CLOSE, (outcome.status, *counts, nanos, *ended))
    fields = {
        "call_id": call_id,
        "step_key": step_key,
        "model": model,
        "input_tokens": outcome.input_tokens,
        "cached_tokens": outcome.cached_tokens,
        "output_tokens": outcome.output_tokens,
        "usd": money_text(nanos),
        "status": outcome.status,
    }
    add_event(tx, lease.row, seq, "usage", fields)
    tx.topics.add(lease.job_id)
    return True
