"""The auditor: compares the store's books, the provider's book and what job code remembers."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from holdfast.model import RetryPolicy
from holdfast.testing.simulation.plan import FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.testing.simulation.world import World

_TERMINAL = ("job.completed", "job.failed", "job.cancelled")
_BOOKED = ("settled", "failed", "lost")
_REPEATS = ("uncertain", "lost")
_TABLES = ("payloads", "events", "checkpoints", "calls", "artifacts")


def audit(world: World) -> list[str]:
    """Return everything that is not as promised at the end of a run."""
    found = list(world.database.violations)
    found += world.memory.repeated
    found += _jobs(world)
    found += _events(world)
    found += _ledger(world)
    found += _money(world)
    found += _undone(world)
    found += _orphans(world)
    found += [trouble for trouble in world.loop.troubles if "never retrieved" not in trouble]
    return found


def _rows(world: World, statement: str) -> list[Any]:
    return world.database.store.look(statement)


def _jobs(world: World) -> Iterator[str]:
    rows = dict(_rows(world, "SELECT job_id, status FROM jobs"))
    for job_id in world.job_ids:
        status = rows.get(job_id, "gone")
        if status not in ("completed", "failed", "cancelled"):
            yield f"{job_id} is {status} at the end"
    for job_id, kind, code in _rows(
        world,
        "SELECT job_id, kind, json_extract(CAST(error AS TEXT), '$.code') FROM jobs"
        " JOIN payloads ON payloads.job = jobs.id WHERE status = 'failed'",
    ):
        if code not in _REASONS.get(kind, ()) and not _explained(world, code):
            yield f"{job_id} ({kind}) failed with {code!r}, which nothing in the plan explains"


_REASONS = {
    "flaky": ("step_failed",),
    "failing": ("step_failed",),
    "saga": ("step_failed",),
}


def _explained(world: World, code: str) -> bool:
    kinds = [fault.kind for fault in world.plan.faults]
    if code == "poison_job":
        return any(kind in _LOSING for kind in kinds)
    return code == "step_failed" and kinds.count(FaultKind.PROVIDER) >= RetryPolicy().attempts


_LOSING = frozenset(FaultKind) - {FaultKind.PROVIDER, FaultKind.STEP, FaultKind.DEAF, FaultKind.ECHO}
"""What may take a worker from its jobs."""


def _events(world: World) -> Iterator[str]:
    by_job: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for job_id, seq, kind in _rows(
        world, "SELECT job_id, seq, type FROM events JOIN jobs ON jobs.id = job ORDER BY job, seq"
    ):
        by_job[job_id].append((seq, kind))
    for job_id, last in _rows(world, "SELECT job_id, event_seq FROM jobs"):
        seqs = [seq for seq, _ in by_job[job_id]]
        if seqs != list(range(1, last + 1)):
            yield f"{job_id} has events {seqs}, its row says 1 to {last}"
        ends = [kind for _, kind in by_job[job_id] if kind in _TERMINAL]
        if len(ends) != 1 or by_job[job_id][-1][1] != ends[0]:
            yield f"{job_id} has ends {ends}, its last event is {by_job[job_id][-1][1]}"
        yield from _attempts(job_id, [kind for _, kind in by_job[job_id]])


def _attempts(job_id: str, kinds: list[str]) -> Iterator[str]:
    """Each attempt has one end before the next begins."""
    running = False
    for kind in kinds:
        if kind == "attempt.started":
            if running:
                yield f"{job_id}: an attempt began before the last had ended"
            running = True
        elif kind in ("attempt.lost", "attempt.released", "attempt.failed", "job.suspended", *_TERMINAL):
            running = False


def _ledger(world: World) -> Iterator[str]:
    """Every call of the provider is in the ledger, and every repetition is told there."""
    ledger = {row[0]: row[1:] for row in _rows(world, _CALLS)}
    asked: dict[str, list[str]] = defaultdict(list)
    for paid in world.provider.book:
        asked[paid.question].append(paid.call_id)
        status, _, _, _, tokens_in, tokens_out, _ = ledger.get(paid.call_id, ("absent", *[None] * 6))
        if status in ("absent", "reserved"):
            yield f"call {paid.call_id} was paid and is {status} in the ledger"
        real = (paid.usage.input_tokens, paid.usage.output_tokens)
        if status in ("settled", "lost") and (tokens_in, tokens_out) != real:
            yield f"call {paid.call_id} used {real}, the ledger says {(tokens_in, tokens_out)}"
    for question, calls in asked.items():
        clean = [call for call in calls if ledger.get(call, ("absent",))[0] == "settled"]
        if len(clean) > 1:
            yield f"{question!r} was paid {len(calls)} times, {len(clean)} times without a word of it"
    for call, (status, _, _, _, _, _, ending) in ledger.items():
        if status in _REPEATS and ending not in _DISTURBED and call not in world.database.unsure_calls:
            yield f"call {call} is {status}, but its attempt ended with {ending!r}"
        if not world.plan.faults and status in _REPEATS and ending != "attempt.released":
            yield f"call {call} is {status}, and nothing went wrong"


_CALLS = """
SELECT call_id, calls.status, job_id, step_key, calls.epoch, calls.input_tokens, calls.output_tokens, (
    SELECT type FROM events AS later WHERE later.job = calls.job AND later.type IN (
        'attempt.lost', 'attempt.released', 'attempt.failed', 'job.suspended', 'job.completed',
        'job.failed', 'job.cancelled'
    ) AND later.seq > (
        SELECT seq FROM events AS began WHERE began.job = calls.job AND began.type = 'attempt.started'
        AND json_extract(CAST(began.data AS TEXT), '$.epoch') = calls.epoch
    ) ORDER BY later.seq LIMIT 1
) FROM calls JOIN jobs ON jobs.id = calls.job
"""
# Selected columns after the id: status, job, step, epoch, input, output, ending of the attempt.

_DISTURBED = ("attempt.lost", "attempt.released", "attempt.failed", "job.cancelled", "job.failed")


def _money(world: World) -> Iterator[str]:
    """The sums on the job's row are the sums of its ledger."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for job_id, status, tokens_in, tokens_out, nanos, held in _rows(
        world,
        "SELECT job_id, calls.status, calls.input_tokens, calls.output_tokens, nanos,"
        " calls.reserved_tokens FROM calls JOIN jobs ON jobs.id = calls.job",
    ):
        told = sums[job_id]
        if status in _BOOKED:
            told.update(calls=1, tokens_in=tokens_in, tokens_out=tokens_out, nanos=nanos or 0)
        else:
            told.update({f"{status}_calls": 1, f"{status}_tokens": held})
    for job_id, *row in _rows(
        world,
        "SELECT job_id, calls, input_tokens, output_tokens, spent_nanos, uncertain_calls,"
        " uncertain_tokens, reserved_calls, reserved_tokens FROM jobs",
    ):
        names = (
            "calls", "tokens_in", "tokens_out", "nanos", "uncertain_calls", "uncertain_tokens",
            "reserved_calls", "reserved_tokens",
        )  # fmt: skip
        expected = [sums[job_id][name] for name in names]
        if expected != row:
            yield f"{job_id}: the ledger sums up to {expected}, its row says {row}"
        if row[-2]:
            yield f"{job_id} has ended with {row[-2]} calls still reserved"


def _undone(world: World) -> Iterator[str]:
    """What a job changed outside is taken back if and only if it did not complete."""
    statuses = dict(_rows(world, "SELECT job_id, status FROM jobs"))
    for job_id, effects in world.memory.effects.items():
        completed = statuses.get(job_id) == "completed"
        for name, there in effects.items():
            if there is not completed:
                found = "there" if there else "gone"
                yield f"{job_id} is {statuses.get(job_id)} and {name!r} is {found}"


def _orphans(world: World) -> Iterator[str]:
    for table in _TABLES:
        for (count,) in _rows(
            world,
            f"SELECT COUNT(*) FROM {table} WHERE job NOT IN (SELECT id FROM jobs)",  # noqa: S608
        ):
            if count:
                yield f"{count} rows of {table} belong to no job"
