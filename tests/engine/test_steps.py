import asyncio
import dataclasses
import functools
import logging
import math
import time
from datetime import UTC, datetime, timedelta

import pydantic
import pytest

from holdfast import codec
from holdfast.engine import pacing, steps
from holdfast.errors import (
    ArtifactError,
    DuplicateStepError,
    FatalError,
    InvalidResponseError,
    JobFailedError,
    LaneHeldError,
    LeaseLost,
    RateLimitedError,
    RetryLaterError,
    SoftLimitError,
    StepFailedError,
    StepUsageError,
    StoreError,
    StoreUnavailableError,
)
from holdfast.model import JobStatus, RetryPolicy, SuspendReason
from holdfast.scope import current_step
from holdfast.testing.faults import Fault
from holdfast.testing.signals import Gate, Mark, eventually
from tests.engine.moving import AT_ONCE, ONCE, once_more, passing, step_scope
from tests.engine.undos import BOOK, remove, remove_result

FAIL_ONCE = RetryPolicy(attempts=2, base_seconds=0)


class Page(pydantic.BaseModel):
    title: str
    words: int = 0


class Secretive(pydantic.BaseModel):
    title: str
    _secret: str = pydantic.PrivateAttr(default="")


@dataclasses.dataclass
class Point:
    x: float
    y: float


class Tagger:
    async def tag(self, text: str) -> Page:
        return Page(title=text)

    async def __call__(self, text: str) -> str:
        return text.upper()


def shout(text: str) -> str:
    return text.upper()


async def whisper(text: str) -> str:
    return text.lower()


async def points() -> list[Point]:
    return [Point(1, 2)]


async def by_number() -> dict[int, tuple[str, datetime]]:
    return {1: ("one", datetime(2030, 1, 1, tzinfo=UTC))}


def unannotated_page():
    return Page(title="t")


@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (shout, ("a",), "A"),
        (whisper, ("A",), "a"),
        (functools.partial(whisper, "B"), (), "b"),
        (functools.partial(shout, "b"), (), "B"),
        (lambda: {"plain": [1, 2.5, None, True]}, (), {"plain": [1, 2.5, None, True]}),
        (lambda: whisper("C"), (), "c"),
        (Tagger().tag, ("t",), Page(title="t")),
        (Tagger(), ("t",), "T"),
        (points, (), [Point(1, 2)]),
        (by_number, (), {1: ("one", datetime(2030, 1, 1, tzinfo=UTC))}),
        (unannotated_page, (), Page(title="t")),
        (lambda: Point(3, 4), (), Point(3, 4)),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
async def test_step_returns_stored_value_without_calling_function_again(
    lab, job, function, args, expected
):
    """The first call and every later attempt return the same typed value."""
    calls = Mark()
    seen = []
    retry = once_more()

    def counted(*given):
        calls.hit()
        return function(*given)

    @job
    async def work(job):
        seen.append(await job.step("it", counted, *args, returns=codec.return_type(function)))
        await retry()

    await lab.run("work")

    assert seen == [expected, expected]
    assert type(seen[0]) is type(seen[1])
    assert calls.count == 1


async def test_step_key_used_twice_is_refused_with_the_way_out(lab, job):
    @job
    async def work(job):
        await job.step("a", shout, "x")
        with pytest.raises(DuplicateStepError, match=r"'a' was used twice.*a/\{item\}"):
            await job.step("a", shout, "x")

    await lab.run("work")


async def test_sleep_signal_and_artifact_keys_are_checked_for_duplicates_too(lab, job):
    @job
    async def work(job):
        await job.save_artifact("a.txt", b"x")
        with pytest.raises(StepUsageError, match=r"artifact 'a\.txt' was saved twice"):
            await job.save_artifact("a.txt", b"y")
        await job.step("pause", shout, "x")
        with pytest.raises(DuplicateStepError):
            await job.sleep("pause", timedelta(seconds=1))
        with pytest.raises(DuplicateStepError):
            await job.wait_for("go", key="pause")

    await lab.run("work")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, "retry=3 is a int"),
        ({"timeout": 30}, "timeout=30 is a int"),
        ({"isolate": "yes"}, "isolate='yes' is a str"),
        ({"undo": "remove"}, "undo='remove' is not a function"),
    ],
)
async def test_options_of_the_wrong_type_are_refused(lab, job, options, message):
    @job
    async def work(job):
        await job.step("a", shout, "x", **options)

    with pytest.raises(JobFailedError, match=message):
        await lab.run("work")


@pytest.mark.parametrize(
    "called", [lambda: whisper("X"), lambda: "a result"], ids=["coroutine", "value"]
)
async def test_function_that_was_called_instead_of_passed_is_refused(lab, job, called):
    @job
    async def work(job):
        await job.step("a", called())

    with pytest.raises(JobFailedError, match="where a function belongs; pass the function"):
        await lab.run("work")


async def test_store_trouble_inside_a_step_hands_the_job_back(lab, job, clock):
    """As when the ledger cannot be written: that is not the step's fault."""
    tries = Mark()

    async def call():
        tries.hit()
        if tries.count <= 2:
            raise StoreUnavailableError("away")

    @job
    async def work(job):
        await job.step("a", call, retry=FAIL_ONCE)

    job_id = await lab.submit("work")
    ended = await passing(clock, lab.end_of(job_id))

    assert (ended.status, ended.attempt, tries.count) == (JobStatus.COMPLETED, 1, 3)


async def test_step_inside_a_step_is_refused(lab, job):
    @job
    async def work(job):
        async def outer():
            await job.step("inner", shout, "x")

        with pytest.raises(StepFailedError, match="steps do not nest"):
            await job.step("outer", outer)

    await lab.run("work")


@pytest.mark.parametrize("key", ["", "x" * 501, 5, None, "holdfast:mine", "a\0b", "\ud800"])
async def test_unusable_step_keys_are_refused(lab, job, key):
    @job
    async def work(job):
        with pytest.raises(StepUsageError):
            await job.step(key, shout, "x")

    await lab.run("work")


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        2**63,
        -(2**63) - 1,
        (1, 2),
        {1},
        b"bytes",
        {1: "a"},
        [Page(title="t")],
        {"page": Point(1, 2)},
        object(),
        "\udcff",
        Secretive,
    ],
    ids=lambda value: type(value).__name__,
)
async def test_step_refuses_result_that_would_not_come_back(lab, job, value):
    @job
    async def work(job):
        with pytest.raises(StepFailedError) as caught:
            await job.step("it", lambda: value)
        return getattr(caught.value.__cause__, "code", None)

    assert await lab.run("work") == "unserializable_value"


async def test_step_refuses_result_with_private_state(lab, job):
    def secretive():
        found = Secretive(title="t")
        found._secret = "s"
        return found

    @job
    async def work(job):
        with pytest.raises(StepFailedError, match="would come back different"):
            await job.step("it", secretive)

    await lab.run("work")


async def test_step_refuses_result_that_belies_its_annotation(lab, job):
    async def lies() -> Page:
        return "no page"  # type: ignore[return-value]

    @job
    async def work(job):
        with pytest.raises(StepFailedError, match="has no JSON form of its declared type"):
            await job.step("it", lies, returns=Page)

    await lab.run("work")


async def test_stored_result_that_no_longer_fits_the_type_fails_by_name(lab, job):
    retry = once_more()
    types = iter([None, Page])

    @job
    async def work(job):
        await job.step("it", lambda: {"name": "old"}, returns=next(types))
        await retry()

    with pytest.raises(JobFailedError, match="does not fit the type the code now declares: title"):
        await lab.run("work")


async def test_new_field_with_a_default_reads_old_results(lab, job):
    retry = once_more()
    types = iter([None, Page])
    seen = []

    @job
    async def work(job):
        seen.append(await job.step("it", lambda: {"title": "old"}, returns=next(types)))
        await retry()

    await lab.run("work")

    assert seen == [{"title": "old"}, Page(title="old", words=0)]


async def test_sync_function_runs_in_a_thread_with_the_step_scope(lab, job):
    gate = Gate()

    def slow():
        gate.through_thread()
        return step_scope().step_key

    @job
    async def work(job):
        return await job.step("slow", slow)

    job_id = await lab.submit("work")
    await gate.reached.wait()
    gate.open()

    assert (await lab.end_of(job_id)).output == b'"slow"'


async def test_scope_tells_the_step_its_job_and_try(lab, job):
    scopes = []

    async def look():
        scopes.append(step_scope())
        if len(scopes) == 1:
            raise TimeoutError

    @job
    async def work(job):
        assert current_step() is None
        await job.step("look", look, retry=AT_ONCE)
        assert current_step() is None

    job_id = (await lab.client.submit("work", priority=7, tenant="acme")).job_id
    await lab.end_of(job_id)

    assert [(s.step_key, s.step_attempt, s.kind, s.priority, s.tenant) for s in scopes] == [
        ("look", 1, "work", 7, "acme"),
        ("look", 2, "work", 7, "acme"),
    ]
    assert scopes[0].lease.job_id == job_id


async def test_large_result_is_kept_as_an_artifact_and_fetched_only_when_needed(lab, job):
    retry = once_more()
    large = "x" * (steps.INLINE_BYTES_MAX + 1)
    fetched = []
    get_bytes = lab.artifacts.get_bytes

    async def counted(sha256):
        fetched.append(sha256)
        return await get_bytes(sha256)

    lab.services.artifacts.get_bytes = counted

    @job
    async def work(job):
        assert await job.step("large", lambda: large) == large
        assert fetched == [] or len(fetched) == 1
        await retry()

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    (checkpoint,) = (await lab.client.records(job_id)).checkpoints
    assert fetched == [checkpoint.blob]
    assert codec.from_json(await get_bytes(checkpoint.blob)) == large


async def test_result_of_exactly_the_inline_limit_stays_in_the_store(lab, job):
    @job
    async def work(job):
        await job.step("limit", lambda: "x" * (steps.INLINE_BYTES_MAX - 2))

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    (checkpoint,) = (await lab.client.records(job_id)).checkpoints
    assert checkpoint.blob is None


async def test_result_survives_artifact_storage_that_fails_for_a_moment(lab, job, clock):
    """What was paid for is held on to: the function is not called again."""
    calls, failed = Mark(), Mark()
    put_bytes = lab.artifacts.put_bytes

    async def fails_once(content):
        if not failed.count:
            failed.hit()
            raise ArtifactError("no")
        return await put_bytes(content)

    lab.services.artifacts.put_bytes = fails_once

    def large():
        calls.hit()
        return "x" * (steps.INLINE_BYTES_MAX + 1)

    @job
    async def work(job):
        await job.step("large", large)

    job_id = await lab.submit("work")
    await failed.wait()
    await passing(clock, lab.end_of(job_id))

    assert calls.count == 1
    assert (await lab.client.get(job_id)).status is JobStatus.COMPLETED


async def test_step_started_is_told_of_slow_steps_only(lab, job):
    gate = Gate()

    @job
    async def work(job):
        await job.step("fast", shout, "x")
        await job.step("slow", gate.through)

    job_id = await lab.submit("work")
    event = await lab.event(job_id, "step.started")
    gate.open()
    await lab.end_of(job_id)

    assert codec.from_json(event.data) == {"key": "slow", "step_attempt": 1}
    assert (await lab.event_types(job_id)).count("step.started") == 1


# --- retries ---------------------------------------------------------------------------------


class StatusError(Exception):
    def __init__(self, status_code):
        super().__init__(f"status {status_code}")
        self.status_code = status_code


@pytest.mark.parametrize(
    "error", [StatusError(429), StatusError(503), TimeoutError(), ConnectionError()], ids=repr
)
async def test_transient_error_is_tried_again(lab, job, error):
    tries = Mark()

    async def flaky():
        tries.hit()
        if tries.count < 3:
            raise error
        return "good"

    @job
    async def work(job):
        return await job.step("flaky", flaky, retry=AT_ONCE)

    assert await lab.run("work") == "good"
    assert tries.count == 3


@pytest.mark.parametrize(
    "error", [StatusError(400), StatusError(404), ValueError("x"), FatalError("x")], ids=repr
)
async def test_permanent_error_fails_at_once(lab, job, error):
    tries = Mark()

    async def broken():
        tries.hit()
        raise error

    @job
    async def work(job):
        with pytest.raises(StepFailedError) as caught:
            await job.step("broken", broken, retry=AT_ONCE)
        assert caught.value.__cause__ is error
        assert caught.value.attempts == 1

    await lab.run("work")

    assert tries.count == 1


async def test_malformed_output_has_its_own_small_limit(lab, job):
    tries = Mark()

    async def malformed():
        tries.hit()
        raise InvalidResponseError("not JSON")

    @job
    async def work(job):
        await job.step(
            "m", malformed, retry=RetryPolicy(attempts=9, malformed_attempts=3, base_seconds=0)
        )

    ended = await lab.end_of(await lab.submit("work"))

    assert tries.count == 3
    assert ended.error.code == "step_failed"
    assert ended.error.details == {
        "step_key": "m",
        "attempts": 3,
        "cause": "InvalidResponseError",
        "cause_code": "invalid_response",
    }


async def test_attempts_and_waits_are_visible_as_events(lab, job):
    tries = Mark()

    async def flaky():
        tries.hit()
        if tries.count == 1:
            raise RateLimitedError("slow down", retry_after=timedelta(0))

    @job
    async def work(job):
        await job.step("flaky", flaky)

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    event = await lab.event(job_id, "step.retrying")
    assert codec.from_json(event.data) == {
        "key": "flaky",
        "step_attempt": 1,
        "wait_seconds": 0.0,
        "error": {"type": "RateLimitedError", "code": "rate_limited"},
    }
    (checkpoint,) = (await lab.client.records(job_id)).checkpoints
    assert checkpoint.attempts == 2


async def test_short_wait_before_a_retry_holds_the_slot(lab, job, clock):
    tries = Mark()

    async def flaky():
        tries.hit()
        if tries.count == 1:
            raise RateLimitedError("slow down", retry_after=timedelta(seconds=30))

    @job
    async def work(job):
        await job.step("flaky", flaky)

    job_id = await lab.submit("work")
    await lab.event(job_id, "step.retrying")
    assert (await lab.client.get(job_id)).status is JobStatus.RUNNING
    await passing(clock, lab.end_of(job_id))

    assert tries.count == 2


async def test_long_wait_before_a_retry_suspends_the_job(lab, job, clock):
    tries = Mark()

    async def flaky():
        tries.hit()
        if tries.count == 1:
            raise RateLimitedError("slow down", retry_after=timedelta(minutes=10))

    @job
    async def work(job):
        await job.step("flaky", flaky)

    job_id = await lab.submit("work")
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    assert suspended.suspend_reason is SuspendReason.SLEEP
    assert suspended.available_at == clock.now() + timedelta(minutes=10)
    assert suspended.attempt == 0
    ended = await passing(clock, lab.end_of(job_id), seconds=60)

    assert (ended.status, ended.attempt, tries.count) == (JobStatus.COMPLETED, 1, 2)


async def test_policy_of_the_job_kind_holds_for_steps_without_one(lab, job):
    tries = Mark()

    async def flaky():
        tries.hit()
        raise TimeoutError

    @job(step_retry=FAIL_ONCE)
    async def work(job):
        await job.step("flaky", flaky)

    await lab.end_of(await lab.submit("work"))

    assert tries.count == 2


# --- time limits -----------------------------------------------------------------------------


async def test_timeout_ends_one_try_and_counts_as_transient(lab, job):
    tries, cancelled = Mark(), Mark()

    async def hangs_once():
        tries.hit()
        if tries.count == 1:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.hit()
        return "good"

    @job
    async def work(job):
        return await job.step("hangs", hangs_once, timeout=timedelta(seconds=0.02), retry=AT_ONCE)

    assert await lab.run("work") == "good"
    assert (tries.count, cancelled.count) == (2, 1)


async def test_timeout_that_recurs_fails_the_step_by_its_name(lab, job):
    @job
    async def work(job):
        await job.step("hangs", asyncio.Event().wait, timeout=timedelta(seconds=0.01), retry=ONCE)

    with pytest.raises(JobFailedError, match=r"'hangs' was still running after its limit of 0.01 s"):
        await lab.run("work")


async def test_timeout_error_of_the_function_itself_is_not_taken_for_the_limit(lab, job):
    async def impatient():
        raise TimeoutError("their own")

    @job
    async def work(job):
        await job.step("it", impatient, timeout=timedelta(seconds=5), retry=ONCE)

    with pytest.raises(JobFailedError, match="TimeoutError: their own"):
        await lab.run("work")


async def test_soft_limit_is_raised_once_at_the_next_step(lab, job, clock):
    @job(soft_limit=timedelta(seconds=10))
    async def work(job):
        await job.step("a", shout, "x")
        clock.advance(10)
        with pytest.raises(SoftLimitError, match="soft limit is 10 s"):
            await job.step("b", shout, "x")
        return await job.step("summary", shout, "partial")

    assert await lab.run("work") == "PARTIAL"


async def test_step_that_blocks_the_loop_is_logged_with_its_key(lab, job, monkeypatch, caplog):
    monkeypatch.setattr(pacing, "BLOCKED_SECONDS_MAX", 0.01)

    async def greedy():
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            pass

    @job
    async def work(job):
        await job.step("greedy", greedy)

    with caplog.at_level(logging.WARNING, "holdfast.engine.pacing"):
        await lab.run("work")

    (record,) = [r for r in caplog.records if r.getMessage() == "step blocked the event loop"]
    assert record.step_key == "greedy"
    assert record.blocked_seconds >= 0.01


# --- errors that are not ordinary ------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("place", ["async", "thread"])
async def test_step_that_would_end_the_process_ends_only_itself(lab, job, error, place):
    async def leaves():
        raise error

    def leaves_in_thread():
        raise error

    @job
    async def work(job):
        await job.step("leaves", leaves if place == "async" else leaves_in_thread)

    @job
    async def other(job):
        return "alive"

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.status is JobStatus.FAILED
    assert type(error).__name__ in ended.error.message
    assert await lab.run("other") == "alive"


async def test_step_that_cancels_itself_fails(lab, job):
    async def self_cancelled():
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner

    @job
    async def work(job):
        with pytest.raises(StepFailedError, match="CancelledError"):
            await job.step("it", self_cancelled)

    await lab.run("work")


# --- trouble with the store --------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
async def test_passing_store_trouble_does_not_call_the_function_again(lab, job, clock, when):
    """Also when the checkpoint had been committed and only the answer was lost."""
    calls = Mark()
    lab.faults.add(
        Fault(verb="put_checkpoint", action=StoreUnavailableError("away"), when=when, times=2)
    )

    @job
    async def work(job):
        return await job.step("paid", calls.hit)

    job_id = await lab.submit("work")
    await passing(clock, lab.end_of(job_id))

    assert (await lab.client.get(job_id)).status is JobStatus.COMPLETED
    assert calls.count == 1


async def test_store_trouble_that_lasts_hands_the_job_back_instead_of_failing_it(lab, job, clock):
    lab.faults.add(Fault(verb="put_checkpoint", action=StoreUnavailableError("away"), times=8))

    @job
    async def work(job):
        return await job.step("paid", shout, "x")

    job_id = await lab.submit("work")
    await passing(clock, lab.end_of(job_id))

    ended = await lab.client.get(job_id)
    assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)


async def test_store_error_that_will_not_pass_is_not_repeated(lab, job):
    lab.faults.add(Fault(verb="put_checkpoint", action=StoreError("broken")))

    @job
    async def work(job):
        await job.step("it", shout, "x")

    with pytest.raises(JobFailedError, match="broken"):
        await lab.run("work")


# --- several at once ---------------------------------------------------------------------------


async def test_gather_and_task_group_over_steps_work(lab, job):
    retry = once_more()
    seen = []

    @job
    async def work(job):
        both = await asyncio.gather(job.step("a", shout, "a"), job.step("b", whisper, "B"))
        async with asyncio.TaskGroup() as group:
            c = group.create_task(job.step("c", shout, "c"))
            d = group.create_task(job.step("d", whisper, "D"))
        seen.append([*both, c.result(), d.result()])
        await retry()

    await lab.run("work")

    assert seen == [["A", "b", "C", "d"]] * 2


async def test_error_in_a_task_group_of_one_failure_is_stored_as_that_error(lab, job):
    async def broken():
        raise ValueError("bad page")

    @job
    async def work(job):
        async with asyncio.TaskGroup() as group:
            group.create_task(job.step("a", broken))

    ended = await lab.end_of(await lab.submit("work"))

    assert ended.error.code == "step_failed"


async def test_sleeping_branch_does_not_cancel_a_call_in_another(lab, job, clock):
    gate = Gate()

    async def call():
        await gate.through()
        return "answer"

    @job
    async def work(job):
        _, answer = await asyncio.gather(job.sleep("nap", timedelta(hours=1)), job.step("call", call))
        return answer

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.event(job_id, "step.started")  # longer than the grace for idle attempts
    assert (await lab.client.get(job_id)).status is JobStatus.RUNNING
    gate.open()
    suspended = await lab.until(job_id, JobStatus.SUSPENDED)
    assert suspended.suspend_reason is SuspendReason.SLEEP
    ended = await passing(clock, lab.end_of(job_id), seconds=600)

    assert ended.output == b'"answer"'
    assert gate.reached.count == 1


async def test_sleep_that_ends_while_another_branch_runs_goes_on_in_the_same_attempt(lab, job, clock):
    gate, woken = Gate(), Mark()

    @job
    async def work(job):
        async def nap():
            await job.sleep("nap", timedelta(seconds=5))
            woken.hit(await job.step("after", shout, "x"))

        await asyncio.gather(nap(), job.step("call", gate.through))

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await passing(clock, woken.wait())
    gate.open()
    ended = await lab.end_of(job_id)

    assert (ended.status, ended.epoch) == (JobStatus.COMPLETED, 1)


async def test_step_that_job_code_let_go_of_ends_with_the_attempt(lab, job):
    """No call goes on, unpaid for by anyone, after its job has ended."""
    gate, cancelled = Gate(), Mark()

    async def call():
        try:
            await gate.through()
        finally:
            cancelled.hit()

    @job
    async def work(job):
        task = asyncio.create_task(job.step("call", call))
        await gate.reached.wait()
        return task.done()

    assert await lab.run("work") is False
    assert cancelled.count == 1


async def test_sibling_of_a_failed_gather_ends_with_the_attempt(lab, job):
    gate, cancelled = Gate(), Mark()

    async def call():
        try:
            await gate.through()
        finally:
            cancelled.hit()

    async def broken():
        await gate.reached.wait()
        raise ValueError("x")

    @job
    async def work(job):
        await asyncio.gather(job.step("call", call), job.step("broken", broken))

    assert (await lab.end_of(await lab.submit("work"))).status is JobStatus.FAILED
    assert cancelled.count == 1


# --- code that changes between attempts --------------------------------------------------------


async def test_steps_are_found_by_key_when_the_code_changes_between_attempts(lab):
    """Inserted, removed and reordered steps: finished ones are not called again."""
    calls = []

    def step(name):
        calls.append(name)
        return name

    async def before(job):
        for name in ("a", "b", "c"):
            await job.step(name, step, name)
        raise RetryLaterError("deploy", retry_after=timedelta(seconds=60))

    async def after(job):
        return [await job.step(name, step, name) for name in ("c", "new", "a")]

    lab.job("work", before)
    job_id = await lab.submit("work")
    await lab.event(job_id, "attempt.failed")
    lab.registry._kinds["work"] = dataclasses.replace(lab.registry.get("work"), function=after)
    ended = await passing(lab.clock, lab.end_of(job_id), seconds=10)

    assert codec.from_json(ended.output) == ["c", "new", "a"]
    assert calls == ["a", "b", "c", "new"]


# --- waits while another branch keeps the attempt going ------------------------------------------


@pytest.mark.parametrize("wait", ["retry", "lane"])
async def test_long_wait_ends_in_the_same_attempt_while_another_branch_runs(lab, job, clock, wait):
    gate, tries = Gate(), Mark()

    async def flaky():
        tries.hit()
        if tries.count == 1:
            if wait == "retry":
                raise RateLimitedError("slow down", retry_after=timedelta(minutes=10))
            raise LaneHeldError("parked", until=clock.now() + timedelta(minutes=10))
        return "good"

    @job
    async def work(job):
        found, _ = await asyncio.gather(job.step("flaky", flaky), job.step("call", gate.through))
        return found

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await passing(clock, tries.wait(2), seconds=60)
    gate.open()
    ended = await lab.end_of(job_id)

    assert (ended.output, ended.epoch) == (b'"good"', 1)


async def test_lease_found_lost_inside_a_step_ends_the_attempt(lab, job):
    """As when a call is refused because another worker has the job now."""
    seen = Mark()

    async def call():
        seen.hit()
        raise LeaseLost

    @job
    async def work(job):
        await job.step("call", call)

    job_id = await lab.submit("work")
    await seen.wait()
    await eventually(lambda: lab.workers[0].running == 0)

    assert (await lab.client.records(job_id)).checkpoints == ()


async def test_undo_of_a_step_that_begins_again_is_the_one_of_todays_code(lab, job, clock):
    BOOK.clear()
    undos_in_turn = iter([remove, remove_result])
    tries = Mark()

    async def put_later(name: str) -> str:
        tries.hit()
        if tries.count == 1:
            raise RateLimitedError("slow down", retry_after=timedelta(minutes=10))
        return name

    @job
    async def work(job):
        await job.step("it", put_later, "it", undo=next(undos_in_turn))
        raise FatalError("no")

    job_id = await lab.submit("work")
    await lab.until(job_id, JobStatus.SUSPENDED)
    await passing(clock, lab.end_of(job_id), seconds=60)

    assert BOOK.lines == [("remove", "it", "it")]


async def test_store_trouble_in_several_branches_is_still_only_trouble(lab, job, clock):
    lab.faults.add(Fault(verb="begin_step", action=StoreUnavailableError("away"), times=2))

    @job
    async def work(job):
        async with asyncio.TaskGroup() as group:
            for name in ("a", "b"):
                group.create_task(job.step(name, shout, name, undo=remove))

    job_id = await lab.submit("work")
    ended = await passing(clock, lab.end_of(job_id))

    assert (ended.status, ended.attempt) == (JobStatus.COMPLETED, 1)


async def test_different_errors_of_a_task_group_are_told_together(lab, job):
    @job
    async def work(job):
        async def fail(error):
            raise error

        async with asyncio.TaskGroup() as group:
            group.create_task(fail(ValueError("x")))
            group.create_task(fail(KeyError("y")))

    assert (await lab.end_of(await lab.submit("work"))).error.type == "ExceptionGroup"
