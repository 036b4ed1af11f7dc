"""The auditor finds what is wrong: each test shows it books with one thing that must not be."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.testing.chaos.auditor import audit, audit_work, calls_at_blows
from holdfast.testing.chaos.books import (
    Asked,
    Books,
    Happening,
    JobRow,
    LedgerCall,
    Outage,
    PaidCall,
    Process,
)

STEPS = 2


def event(seq: int, kind: str, job_id: str = "job_1", **fields: object) -> Happening:
    return Happening(job_id=job_id, seq=seq, type=kind, at=float(seq), **fields)  # type: ignore[arg-type]


def good_books() -> Books:
    """One job of two paid steps; its first worker was killed in the second step."""
    events = [
        event(1, "job.queued"),
        event(2, "attempt.started", epoch=1, worker_id="worker_a"),
        event(3, "step.completed", key="ask/0"),
        event(4, "attempt.lost"),
        event(5, "attempt.started", epoch=2, worker_id="worker_b"),
        event(6, "step.completed", key="ask/1"),
        event(7, "job.completed"),
    ]
    ledger = [
        LedgerCall(
            call_id=call_id,
            job_id="job_1",
            step_key=key,
            epoch=epoch,
            status=status,
            input_tokens=10 * booked,
            output_tokens=5 * booked,
            nanos=100 * booked,
            reserved_tokens=50,
            began=began,
        )
        for call_id, key, epoch, status, booked, began in (
            ("call_1", "ask/0", 1, "settled", 1, 2.1),
            ("call_2", "ask/1", 1, "uncertain", 0, 3.1),
            ("call_3", "ask/1", 2, "settled", 1, 5.1),
        )
    ]
    provider = [
        PaidCall(
            call_id=call.call_id,
            question=call.step_key,
            began=call.began,
            ended=call.began + 0.5,
            answered=True,
            input_tokens=10,
            output_tokens=5,
        )
        for call in ledger
    ]
    return Books(
        submitted={"job 1": "done"},
        drain_seconds=10.0,
        jobs=[
            JobRow(
                job_id="job_1",
                kind="chaos.line",
                asked=Asked(name="job 1", steps=STEPS, rest_seconds=0.0),
                status="completed",
                event_seq=7,
                output="done",
                calls=2,
                input_tokens=20,
                output_tokens=10,
                spent_nanos=200,
                uncertain_calls=1,
                uncertain_tokens=50,
            )
        ],
        events=events,
        ledger=ledger,
        provider=provider,
        processes=[
            Process(
                name="worker 0.1",
                worker_ids=("worker_a",),
                began=0.0,
                ended=3.2,
                status=-9,
                told=(("SIGKILL", 3.2),),
                blows=((3.2, 3.2),),
            ),
            Process(
                name="worker 0.2",
                worker_ids=("worker_b",),
                began=4.0,
                ended=9.0,
                status=0,
                told=(("SIGTERM", 8.0),),
            ),
        ],
    )


def job(books: Books, **changes: object) -> None:
    books.jobs[0] = replace(books.jobs[0], **changes)  # type: ignore[arg-type]


def call(books: Books, number: int, **changes: object) -> None:
    books.ledger[number] = replace(books.ledger[number], **changes)  # type: ignore[arg-type]


def paid(books: Books, number: int, **changes: object) -> None:
    books.provider[number] = replace(books.provider[number], **changes)  # type: ignore[arg-type]


def process(books: Books, number: int, **changes: object) -> None:
    books.processes[number] = replace(books.processes[number], **changes)  # type: ignore[arg-type]


def happen(books: Books, number: int, **changes: object) -> None:
    books.events[number] = replace(books.events[number], **changes)  # type: ignore[arg-type]


def pay_again(books: Books) -> None:
    """The provider was asked once more, and the ledger counts both answers."""
    books.provider.append(replace(books.provider[0], call_id="call_4"))
    books.ledger.append(replace(books.ledger[0], call_id="call_4"))
    job(books, calls=3, input_tokens=30, output_tokens=15, spent_nanos=300)


def spare_worker(books: Books) -> None:
    process(books, 0, blows=())


def end_twice(books: Books) -> None:
    books.events.append(event(8, "job.completed"))
    job(books, event_seq=8)


def book_late(books: Books) -> None:
    books.events.append(event(8, "usage"))
    job(books, event_seq=8)


def complete_twice(books: Books) -> None:
    happen(books, 5, key="ask/0")


def test_auditor_finds_nothing_in_books_that_agree():
    books = good_books()

    assert audit(books) == []
    assert calls_at_blows(books) == 1


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda books: books.jobs.clear(), "job 1 was submitted once and is there 0 times"),
        (lambda books: books.jobs.append(books.jobs[0]), "is there 2 times"),
        (lambda books: books.submitted.clear(), "job 1 is there and was never submitted"),
        (lambda books: job(books, status="running"), "is running (None) at the end"),
        (lambda books: job(books, status="failed", error_code="poison_job"), "is failed (poison_job)"),
        (lambda books: job(books, output="other"), "ended with 'other' instead of 'done'"),
        (lambda books: books.events.pop(), "has 6 events, its row says 1 to 7"),
        (lambda books: happen(books, 6, type="progress"), "is completed and has the ends []"),
        (lambda books: happen(books, 6, type="job.failed"), "has the ends ['job.failed']"),
        (book_late, "has the ends ['job.completed'], its last event is usage"),
        (end_twice, "has the ends ['job.completed', 'job.completed']"),
        (complete_twice, "completed step 'ask/0' 2 times"),
        (lambda books: happen(books, 3, type="progress"), "began before the last one had ended"),
        (lambda books: happen(books, 4, epoch=1), "epoch 1 came after epoch 1"),
        (lambda books: happen(books, 3, until=70.0), "sleeps 0 s and was suspended for 66.0 s"),
        (lambda books: books.ledger.pop(1), "call_2 reached the provider and is not in the ledger"),
        (lambda books: call(books, 1, status="reserved"), "is still reserved at the end"),
        (lambda books: call(books, 1, status="failed"), "was answered and is booked as failed"),
        (lambda books: books.provider.pop(2), "is settled and was never answered"),
        (lambda books: paid(books, 2, answered=False), "is settled and was never answered"),
        (lambda books: call(books, 0, input_tokens=9), "used 10 + 5 tokens, the ledger says 9 + 5"),
        (pay_again, "was paid 2 times, 2 times without a word of it: call_1, call_4"),
        (pay_again, "has 2 paid steps and 3 settled calls"),
        (spare_worker, "nothing struck its worker while it was in flight, 3.1 to 6.6 s"),
        (spare_worker, "1 calls are possibly paid twice, 0 were in flight at the blows"),
        (lambda books: process(books, 0, worker_ids=()), "was made in epoch 1 by nobody known"),
        (lambda books: job(books, input_tokens=21), "input_tokens = 21, its ledger sums up to 20"),
        (lambda books: job(books, reserved_calls=1), "reserved_calls = 1, its ledger sums up to 0"),
        (lambda books: paid(books, 2, output_tokens=6), "the provider counts 31 tokens"),
        (lambda books: books.orphan_rows.update(events=3), "3 rows of events belong to no job"),
        (lambda books: books.workers_left.append("worker_a"), "worker_a has left and the store"),
        (lambda books: books.files_unknown.append("ab/abc"), "file ab/abc in artifact storage"),
        (lambda books: books.files_missing.append("ab/abc"), "artifact ab/abc is missing"),
        (lambda books: books.processes_left.append(4711), "process 4711 is still there"),
        (lambda books: books.errors_logged.append("worker 0.1 logged 'oops'"), "logged 'oops'"),
        (lambda books: process(books, 1, ended=None), "worker 0.2 has not ended"),
        (lambda books: process(books, 1, forced=True), "did not leave and had to be killed"),
        (lambda books: process(books, 1, status=1), "was told to leave and ended with 1"),
        (lambda books: process(books, 1, ended=20.0), "took 12.0 s to leave, at most 10"),
        (lambda books: process(books, 1, told=()), "worker 0.2 ended by itself with 0"),
    ],
)
def test_auditor_finds_what_is_wrong(wrong: Callable[[Books], object], found: str):
    books = good_books()

    wrong(books)

    findings = audit(books)
    assert any(found in finding for finding in findings), findings


def test_job_that_took_three_workers_down_in_a_row_may_fail():
    books = good_books()
    losses = [
        event(2 + number, kind, epoch=1 + number // 2, worker_id="worker_a")
        for number, kind in enumerate(["attempt.started", "attempt.lost"] * 3)
    ]
    books.events = [
        event(1, "job.queued"),
        *losses,
        event(8, "attempt.started", epoch=4, worker_id="worker_b"),
        event(9, "job.failed"),
    ]
    books.ledger, books.provider = [], []
    books.jobs = [
        JobRow(
            job_id="job_1",
            kind="chaos.line",
            asked=Asked(name="job 1", steps=STEPS),
            status="failed",
            error_code="poison_job",
            event_seq=9,
        )
    ]

    assert audit(books) == []


def test_answer_that_could_not_be_stored_while_the_store_was_away_counts_as_in_flight():
    books = good_books()
    process(books, 0, ended=20.0, told=(("SIGKILL", 20.0),), blows=((20.0, 20.0),))
    assert any("nothing struck its worker" in finding for finding in audit(books))

    books.outages.append(Outage(server="store", began=3.5, ended=19.0))

    assert audit(books) == []


def test_worker_may_fail_to_start_while_a_server_is_away():
    books = good_books()
    books.processes.append(Process(name="worker 1.1", worker_ids=(), began=5.0, ended=6.0, status=1))
    assert audit(books) == ["worker 1.1 ended by itself with 1"]

    books.outages.append(Outage(server="broker", began=4.0, ended=5.5))

    assert audit(books) == []


def test_intent_that_waited_to_be_sent_was_under_way_until_its_attempt_was_over():
    """Its worker was killed long after the intent; the provider never heard of the call."""
    books = good_books()
    [process, *others] = books.processes
    late = replace(
        books,
        provider=[call for call in books.provider if call.call_id != "call_2"],
        ledger=[
            replace(call, began=-20.0) if call.call_id == "call_2" else call for call in books.ledger
        ],
        processes=[replace(process, blows=((3.9, 3.9),)), *others],
    )

    assert calls_at_blows(late) == 1
    assert not [finding for finding in audit(late) if "call_2" in finding]


def test_intent_of_an_attempt_that_nothing_struck_may_not_be_repeated():
    books = good_books()
    [process, *others] = books.processes
    spared = replace(
        books,
        provider=[call for call in books.provider if call.call_id != "call_2"],
        processes=[replace(process, blows=()), *others],
    )

    assert [finding for finding in audit(spared) if "call_2" in finding and "nothing struck" in finding]


@pytest.mark.parametrize("status", ["failed", "lost", "uncertain"])
def test_call_of_a_job_that_was_cancelled_meanwhile_may_end_in_any_way(status: str):
    """Nobody repeats it, and whether its answer was still read is chance."""
    books = good_books()
    booked = status != "uncertain"
    books.events = [*books.events[:3], event(4, "job.cancel_requested"), event(5, "job.cancelled")]
    del books.ledger[2], books.provider[2], books.processes[0]
    process(books, 0, worker_ids=("worker_a",))
    call(books, 1, status=status, input_tokens=10 * booked, output_tokens=5 * booked)
    job(books, status="cancelled", event_seq=5, calls=1 + booked)
    job(books, input_tokens=10 + 10 * booked, output_tokens=5 + 5 * booked, spent_nanos=100)
    job(books, uncertain_calls=1 - booked, uncertain_tokens=50 * (1 - booked))

    assert audit_work(books) == []

    happen(books, 3, type="progress")
    assert any("call_2" in finding for finding in audit_work(books))


def test_kinds_that_say_nothing_of_their_steps_are_not_held_to_any():
    books = good_books()
    job(books, asked=Asked(name="job_1"))
    happen(books, 3, until=70.0)

    assert audit_work(books) == []


def test_parent_counts_what_its_children_have_used():
    books = good_books()
    job(books, parent_id="job_0")
    parent = replace(
        books.jobs[0], job_id="job_0", parent_id=None, asked=Asked(name="job_0"), event_seq=3
    )
    books.jobs.append(parent)
    told = ("job.queued", "attempt.started", "job.completed")
    books.events += [event(seq, kind, "job_0", epoch=1) for seq, kind in enumerate(told, start=1)]
    assert audit_work(books) == []

    books.jobs[1] = replace(parent, calls=0)

    assert audit_work(books) == ["job_0 says calls = 0, its ledger sums up to 2"]
