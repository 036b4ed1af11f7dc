"""Compares three books: the provider's, the ledger, and the jobs. Each finding is a sentence.

Pure functions of `Books`, so that tests can show them books that are wrong.
"""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from holdfast.testing.chaos.books import BOOKED, FAILED, ITEMISED, LOST, RESERVED, SETTLED, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.testing.chaos.books import Books, Happening, JobRow, PaidCall, Process

_TERMINAL = frozenset({"job.completed", "job.failed", "job.cancelled"})
_ATTEMPT_ENDS = _TERMINAL | {"attempt.lost", "attempt.released", "attempt.failed", "job.suspended"}
_POISON_LOSSES = 3

SLACK_SECONDS = 3.0
"""How long after its answer a call may still be in flight for its job: the answer is read, booked and
stored as the step's result, on a machine that is busy."""

_OVER = frozenset(
    {"attempt.started", "attempt.lost", "attempt.released", "attempt.failed"}
    | {f"job.{end}" for end in ("suspended", "completed", "failed", "cancelled")}
)
"""Events that say that the attempt before them is over."""


def audit(books: Books) -> list[str]:
    """Return everything that is not as promised at the end of a run."""
    return [*_submitted(books), *audit_work(books)]


def audit_work(books: Books) -> list[str]:
    """Return what is not as promised whatever the jobs are, and whoever has submitted them."""
    return list(
        chain(
            _events(books),
            _calls_on_record(books),
            _paid_once(books),
            _repeats(books),
            _sums(books),
            _left_behind(books),
            _processes(books),
        )
    )


# jobs ----------------------------------------------------------------------------------------------


def _submitted(books: Books) -> Iterator[str]:
    """Every job that was accepted is there once, has ended, and with the right output."""
    rows: dict[str, list[JobRow]] = defaultdict(list)
    for job in books.jobs:
        rows[job.asked.name].append(job)
    for name, expected in books.submitted.items():
        found = rows.pop(name, [])
        if len(found) != 1:
            yield f"{name} was submitted once and is there {len(found)} times"
        for job in found:
            if job.status == "failed" and job.error_code == "poison_job" and _lost_often(books, job):
                continue
            if job.status != "completed":
                yield f"{name} ({job.job_id}) is {job.status} ({job.error_code}) at the end"
            elif job.output != expected:
                yield f"{name} ({job.job_id}) ended with {job.output!r} instead of {expected!r}"
    for name in rows:
        yield f"{name} is there and was never submitted"


def _lost_often(books: Books, job: JobRow) -> bool:
    """Whether the job lost so many workers in a row, without a finished step, that it had to fail."""
    losses = most = 0
    for event in sorted(books.events, key=lambda event: event.seq):
        if event.job_id == job.job_id:
            losses = losses + 1 if event.type == "attempt.lost" else losses
            most = max(most, losses)
            losses = 0 if event.type == "step.completed" else losses
    return most >= _POISON_LOSSES


def _events(books: Books) -> Iterator[str]:
    """Events are gapless; a job ends once, a step completes once, attempts do not overlap.

    And no clock makes a job sleep longer than it asked for.
    """
    by_job: dict[str, list[Happening]] = defaultdict(list)
    for event in sorted(books.events, key=lambda event: event.seq):
        by_job[event.job_id].append(event)
    for job in books.jobs:
        events = by_job[job.job_id]
        if [event.seq for event in events] != list(range(1, job.event_seq + 1)):
            yield f"{job.job_id} has {len(events)} events, its row says 1 to {job.event_seq}"
        ends = [event.type for event in events if event.type in _TERMINAL]
        if ends != [f"job.{job.status}"] or events[-1].type != ends[0]:
            last = events[-1].type if events else "none"
            yield f"{job.job_id} is {job.status} and has the ends {ends}, its last event is {last}"
        completed = Counter(event.key for event in events if event.type == "step.completed")
        for key, count in completed.items():
            if count > 1:
                yield f"{job.job_id} completed step {key!r} {count} times"
        yield from _attempts(job.job_id, events)
        yield from _sleeps(job, events)


def _sleeps(job: JobRow, events: list[Happening]) -> Iterator[str]:
    rest = job.asked.rest_seconds
    if rest is None:
        return
    for event in events:
        if event.until is not None and event.until - event.at > rest + SLACK_SECONDS:
            yield f"{job.job_id} sleeps {rest:g} s and was suspended for {event.until - event.at:.1f} s"


def _attempts(job_id: str, events: list[Happening]) -> Iterator[str]:
    running, last = False, 0
    for event in events:
        if event.type == "attempt.started":
            if running:
                yield f"{job_id}: attempt {event.epoch} began before the last one had ended"
            if event.epoch <= last:
                yield f"{job_id}: epoch {event.epoch} came after epoch {last}"
            running, last = True, event.epoch
        elif event.type in _ATTEMPT_ENDS:
            running = False


# calls ---------------------------------------------------------------------------------------------


def _calls_on_record(books: Books) -> Iterator[str]:
    """What the provider was asked is in the ledger, and what the ledger calls answered, it answered."""
    ledger = {call.call_id: call for call in books.ledger}
    paid = {call.call_id: call for call in books.provider}
    off = _called_off(books)
    for seen in books.provider:
        call = ledger.get(seen.call_id)
        if call is None:
            yield f"call {seen.call_id} reached the provider and is not in the ledger"
        elif call.status == FAILED and seen.answered and call.call_id not in off:
            yield f"call {seen.call_id} of {call.job_id} was answered and is booked as failed"
    for call in books.ledger:
        if call.status == RESERVED:
            yield f"call {call.call_id} of {call.job_id} is still reserved at the end"
        if call.status not in (SETTLED, LOST):
            continue
        real = paid.get(call.call_id)
        if real is None or not real.answered:
            yield f"call {call.call_id} of {call.job_id} is {call.status} and was never answered"
        elif (call.input_tokens, call.output_tokens) != (real.input_tokens, real.output_tokens):
            yield (
                f"call {call.call_id} of {call.job_id} used {real.input_tokens} + {real.output_tokens}"
                f" tokens, the ledger says {call.input_tokens} + {call.output_tokens}"
            )


def _paid_once(books: Books) -> Iterator[str]:
    """Of all answers to one question, all but one are itemised; a step has one that counts."""
    ledger = {call.call_id: call for call in books.ledger}
    answers: dict[str, list[PaidCall]] = defaultdict(list)
    for seen in books.provider:
        if seen.answered and seen.call_id in ledger:
            answers[seen.question].append(seen)
    for calls in answers.values():
        quiet = [call.call_id for call in calls if ledger[call.call_id].status not in ITEMISED]
        if len(quiet) > 1:
            where = ledger[quiet[0]]
            yield (
                f"step {where.step_key!r} of {where.job_id} was paid {len(calls)} times, {len(quiet)}"
                f" times without a word of it: {', '.join(quiet)}"
            )
    counted: Counter[str] = Counter(call.job_id for call in books.ledger if call.status == SETTLED)
    for job in books.jobs:
        steps = job.asked.steps
        if steps is not None and job.status == "completed" and counted[job.job_id] != steps:
            yield f"{job.job_id} has {steps} paid steps and {counted[job.job_id]} settled calls"


def _repeats(books: Books) -> Iterator[str]:
    """A call is itemised as repeated only if something struck its worker while it was in flight.

    Or if its job was cancelled just then: it is not repeated, but nobody knows what it has cost.
    """
    owners, flights, off = owners_of(books), _flights(books), _called_off(books)
    repeated = [call for call in books.ledger if call.status in ITEMISED and call.call_id not in off]
    for call in repeated:
        owner = owners.get((call.job_id, call.epoch))
        began, ended = flights[call.call_id]
        if owner is None:
            yield f"call {call.call_id} of {call.job_id} was made in epoch {call.epoch} by nobody known"
        elif not _struck(owner, began, ended):
            yield (
                f"call {call.call_id} of {call.job_id} ({call.step_key}, {owner.name}) is {call.status},"
                f" and nothing struck its worker while it was in flight, {began:.1f} to {ended:.1f} s"
            )
    if len(repeated) > (limit := calls_at_blows(books)):
        yield f"{len(repeated)} calls are possibly paid twice, {limit} were in flight at the blows"


def calls_at_blows(books: Books) -> int:
    """Return how many calls were in flight in a worker when it was killed or stopped."""
    owners, flights = owners_of(books), _flights(books)
    return sum(
        _struck(owner, *flights[call.call_id])
        for call in books.ledger
        if (owner := owners.get((call.job_id, call.epoch))) is not None
    )


def _called_off(books: Books) -> set[str]:
    """Return the calls that were under way as their job was asked to end."""
    asked = {event.job_id: event.at for event in books.events if event.type == "job.cancel_requested"}
    flights = _flights(books)
    return {
        call.call_id
        for call in books.ledger
        if flights[call.call_id][1] >= asked.get(call.job_id, float("inf"))
    }


def _struck(process: Process, began: float, ended: float) -> bool:
    return any(began <= until and since <= ended for since, until in process.blows)


def owners_of(books: Books) -> dict[tuple[str, int], Process]:
    """Return the process of each attempt, by job and epoch."""
    by_id = {worker_id: process for process in books.processes for worker_id in process.worker_ids}
    return {
        (event.job_id, event.epoch): by_id[event.worker_id]
        for event in books.events
        if event.type == "attempt.started" and event.worker_id in by_id
    }


def _flights(books: Books) -> dict[str, tuple[float, float]]:
    """Return from when to when each call was under way: until its step's result was stored.

    Where none was, until its answer ought to have been: soon after it came, or after the store was back.
    One that never reached the provider was under way for as long as its attempt: an intent may wait for
    a busy machine to send it.
    """
    stored, over = _stored_at(books), _over_at(books)
    seen = {call.call_id: call for call in books.provider}
    away = sorted((outage.began, outage.ended) for outage in books.outages if outage.server == "store")
    found = {}
    for call in books.ledger:
        ended = stored.get((call.job_id, call.step_key, call.epoch))
        if ended is None or call.status != SETTLED:
            answered = call.call_id in seen
            ended = seen[call.call_id].ended if answered else over.get((call.job_id, call.epoch))
            ended = float("inf") if ended is None else ended + SLACK_SECONDS
            for since, until in away:
                if since <= ended:
                    ended = max(ended, until + SLACK_SECONDS)
        found[call.call_id] = (call.began, ended)
    return found


def _stored_at(books: Books) -> dict[tuple[str, str, int], float]:
    """Return when each step's result was stored, by job, key and epoch."""
    epochs: dict[str, int] = {}
    found = {}
    for event in sorted(books.events, key=lambda event: event.seq):
        if event.type == "attempt.started":
            epochs[event.job_id] = event.epoch
        elif event.type == "step.completed":
            found[event.job_id, event.key, epochs.get(event.job_id, 0)] = event.at
    return found


def _over_at(books: Books) -> dict[tuple[str, int], float]:
    """Return when each attempt was over, by job and epoch: at the first word of it or of the next."""
    open_epochs: dict[str, int] = {}
    found = {}
    for event in sorted(books.events, key=lambda event: event.seq):
        if event.type in _OVER and event.job_id in open_epochs:
            found[event.job_id, open_epochs.pop(event.job_id)] = event.at
        if event.type == "attempt.started":
            open_epochs[event.job_id] = event.epoch
    return found


# money, and what is left ---------------------------------------------------------------------------


def _sums(books: Books) -> Iterator[str]:
    """The sums on a job's row are those of its family's ledger, and the ledger's are the provider's."""
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    parents = {job.job_id: job.parent_id for job in books.jobs}
    for call in books.ledger:
        if call.status in BOOKED:
            told = {
                "calls": 1,
                "input_tokens": call.input_tokens,
                "output_tokens": call.output_tokens,
                "spent_nanos": call.nanos,
            }
        else:
            told = {f"{call.status}_calls": 1, f"{call.status}_tokens": call.reserved_tokens}
        job_id: str | None = call.job_id
        while job_id is not None:
            sums[job_id].update(told)
            job_id = parents.get(job_id)
    for job in books.jobs:
        for name in (
            "calls", "input_tokens", "output_tokens", "spent_nanos", "uncertain_calls",
            "uncertain_tokens", "reserved_calls", "reserved_tokens",
        ):  # fmt: skip
            row, expected = getattr(job, name), sums[job.job_id][name]
            if row != expected:
                yield f"{job.job_id} says {name} = {row}, its ledger sums up to {expected}"
    unsure = {call.call_id for call in books.ledger if call.status in (UNCERTAIN, FAILED)}
    paid = sum(
        call.input_tokens + call.output_tokens
        for call in books.provider
        if call.answered and call.call_id not in unsure
    )
    booked = sum(
        call.input_tokens + call.output_tokens for call in books.ledger if call.status in (SETTLED, LOST)
    )
    if paid != booked:
        yield f"the provider counts {paid} tokens of calls that were booked, the ledger {booked}"


def _left_behind(books: Books) -> Iterator[str]:
    for table, count in books.orphan_rows.items():
        if count:
            yield f"{count} rows of {table} belong to no job"
    for worker_id in books.workers_left:
        yield f"{worker_id} has left and the store still knows it"
    for name in books.files_unknown:
        yield f"file {name} in artifact storage belongs to no job"
    for name in books.files_missing:
        yield f"artifact {name} is missing or damaged"
    for pid in books.processes_left:
        yield f"process {pid} is still there"
    yield from books.errors_logged


def _processes(books: Books) -> Iterator[str]:
    """A worker ends when it is told to, or when a server was away as it started."""
    for process in books.processes:
        told = {name for name, _ in process.told}
        if process.forced:
            yield f"{process.name} did not leave and had to be killed"
        elif process.ended is None:
            yield f"{process.name} has not ended"
        elif "SIGKILL" in told and process.status == -signal.SIGKILL:
            continue
        elif "SIGTERM" in told:
            yield from _leaving(books, process, process.ended)
        elif not _started_without_server(books, process):
            yield f"{process.name} ended by itself with {process.status}"


def _leaving(books: Books, process: Process, ended: float) -> Iterator[str]:
    """A worker that is told to leave does so in time and with status 0, unless it never began."""
    if process.status == -signal.SIGTERM and not process.worker_ids:
        return
    # One that is stopped meanwhile can leave only when it is let go on.
    seconds = ended - max(at for name, at in process.told if name in ("SIGTERM", "SIGCONT"))
    if process.status != 0 and not _started_without_server(books, process):
        yield f"{process.name} was told to leave and ended with {process.status}"
    elif seconds > books.drain_seconds:
        yield f"{process.name} took {seconds:.1f} s to leave, at most {books.drain_seconds:g}"


def _started_without_server(books: Books, process: Process) -> bool:
    """Whether it never got to work because a server was away."""
    ended = float("inf") if process.ended is None else process.ended
    return not process.worker_ids and any(
        outage.began <= ended and process.began <= outage.ended for outage in books.outages
    )
