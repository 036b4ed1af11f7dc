import asyncio
from datetime import timedelta
from typing import Any

import pydantic
import pytest

from holdfast import codec
from holdfast.engine.client import JobClient
from holdfast.engine.registry import Registry
from holdfast.errors import (
    FatalError,
    IdempotencyConflictError,
    InvalidInputError,
    JobCancelledError,
    JobFailedError,
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    UnknownJobKindError,
)
from holdfast.model import Budget, Job, JobStatus
from holdfast.store.base import JobQuery
from holdfast.testing.signals import Gate, Mark
from tests.engine import undos
from tests.engine.moving import step_scope


class Order(pydantic.BaseModel):
    item: str
    pages: int = 1


class Receipt(pydantic.BaseModel):
    total: int


async def fill(job, order: Order) -> Receipt:
    return Receipt(total=order.pages * 2)


async def test_result_is_typed_as_the_kind_declares(lab, job):
    job(fill)

    assert await lab.run("fill", Order(item="a", pages=4)) == Receipt(total=8)
    assert await lab.run("fill", {"item": "a"}) == Receipt(total=2)


async def test_output_of_a_kind_that_is_not_registered_here_is_plain(lab, job):
    job(fill)
    ended = await lab.end_of(await lab.submit("fill", {"item": "a"}))
    del lab.registry._kinds["fill"]

    assert lab.client.output_of(ended) == {"total": 2}


@pytest.mark.parametrize("value", [{"pages": 1}, {"item": "a", "pages": "many"}, None, 5])
async def test_input_that_does_not_fit_is_refused_at_submission(lab, job, value):
    job(fill)

    with pytest.raises(InvalidInputError, match="input of job kind 'fill' does not fit its model"):
        await lab.submit("fill", value)


async def test_input_for_a_kind_that_takes_none_is_refused(lab, job):
    @job
    async def work(job):
        pass

    with pytest.raises(InvalidInputError, match="takes no input, got a dict"):
        await lab.submit("work", {})


async def test_input_without_json_form_is_refused(lab, job):
    @job
    async def work(job, anything):
        pass

    with pytest.raises(InvalidInputError, match=r"holds a builtins\.set"):
        await lab.submit("work", {1})


async def test_unknown_kind_is_refused_with_those_that_are_known(lab, job):
    job(fill)

    with pytest.raises(UnknownJobKindError, match="'fil' is not registered; registered kinds: 'fill'"):
        await lab.submit("fil")


async def test_same_key_and_input_give_the_same_job(lab, job):
    job(fill)

    first = await lab.submit("fill", {"item": "a"}, idempotency_key="k")
    second = await lab.submit("fill", Order(item="a"), idempotency_key="k")
    await lab.end_of(first)
    third = await lab.submit("fill", {"item": "a"}, idempotency_key="k")

    assert first == second == third


async def test_same_key_with_another_input_is_a_conflict(lab, job):
    job(fill)
    await lab.submit("fill", {"item": "a"}, idempotency_key="k")

    with pytest.raises(IdempotencyConflictError, match="key 'k' already belongs to job"):
        await lab.submit("fill", {"item": "b"}, idempotency_key="k")


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_unusable_idempotency_key_is_refused(lab, job, key):
    job(fill)

    with pytest.raises(InvalidInputError, match=f"key of {len(key)} characters"):
        await lab.submit("fill", {"item": "a"}, idempotency_key=key)


async def test_options_of_the_submission_win_over_those_of_the_kind(idle):
    idle.job("fill", fill, queue="slow", priority=3, budget=Budget(tokens=5))

    by_kind = await idle.client.submit("fill", {"item": "a"})
    given = await idle.client.submit(
        "fill",
        {"item": "a"},
        queue="fast",
        priority=0,
        budget=Budget(usd=1),
        tenant="t",
        delay=timedelta(hours=1),
    )

    assert (by_kind.queue, by_kind.priority, by_kind.budget) == ("slow", 3, Budget(tokens=5))
    assert (given.queue, given.priority, given.budget, given.tenant) == ("fast", 0, Budget(usd=1), "t")
    assert given.available_at == idle.clock.now() + timedelta(hours=1)


async def test_events_are_live_gapless_and_end_with_the_job(lab, job):
    gate = Gate()

    @job
    async def work(job):
        await job.step("call", gate.through)
        job.emit("chapter.done", number=1)

    job_id = await lab.submit("work")
    seen = []
    async for event in lab.client.events(job_id):
        seen.append(event)
        if event.type == "step.started":
            gate.open()

    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert [event.type for event in seen] == [
        "job.queued",
        "attempt.started",
        "step.started",
        "step.completed",
        "chapter.done",
        "job.completed",
    ]


async def test_events_resume_after_any_number(lab, job):
    job(fill)
    job_id = await lab.submit("fill", {"item": "a"})
    await lab.end_of(job_id)

    every = [event.seq async for event in lab.client.events(job_id)]
    rest = [event.seq async for event in lab.client.events(job_id, after=2)]
    none = [event.seq async for event in lab.client.events(job_id, after=99)]

    assert (rest, none) == (every[2:], [])


async def test_events_come_in_pages_without_loss(lab, job, monkeypatch):
    monkeypatch.setattr("holdfast.engine.client.EVENT_PAGE", 3)

    @job
    async def work(job):
        for number in range(10):
            await job.step(f"s/{number}", undos.put, "x")

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    assert [event.seq async for event in lab.client.events(job_id)] == list(range(1, 14))


async def test_unknown_job_is_told_by_every_verb(lab):
    verbs = [
        lab.client.get("job_x"),
        lab.client.records("job_x"),
        lab.client.cancel("job_x"),
        lab.client.signal("job_x", "go"),
        lab.client.retry("job_x"),
        lab.client.fork("job_x"),
        lab.client.set_budget("job_x", Budget()),
        lab.client.wait("job_x"),
        lab.client.artifacts("job_x"),
    ]
    for verb in verbs:
        with pytest.raises(JobNotFoundError):
            await verb


async def test_result_of_a_failed_job_tells_its_error(lab, job):
    @job
    async def work(job):
        raise FatalError("no paper")

    with pytest.raises(JobFailedError, match="failed: FatalError: no paper"):
        await lab.run("work")


async def test_result_of_a_cancelled_job_is_an_error_of_its_own(idle):
    idle.job("fill", fill)
    job_id = await idle.submit("fill", {"item": "a"})
    await idle.client.cancel(job_id)

    with pytest.raises(JobCancelledError):
        await idle.client.result(job_id)


async def test_output_of_a_job_under_way_is_refused(idle):
    idle.job("fill", fill)
    job = await idle.client.submit("fill", {"item": "a"})

    with pytest.raises(JobNotFinishedError, match="cannot give its output: it is 'queued'"):
        idle.client.output_of(job)


def test_failed_job_without_an_error_on_record_still_tells(idle_job):
    nothing: Any = None
    client = JobClient(nothing, Registry(), nothing, nothing)

    with pytest.raises(JobFailedError, match="no error was recorded"):
        client.output_of(idle_job)


@pytest.fixture
def idle_job():
    from holdfast.testing.clock import START

    return Job(
        job_id="job_x",
        kind="k",
        queue="q",
        status=JobStatus.FAILED,
        input=b"",
        created_at=START,
        available_at=None,
    )


async def test_retry_goes_on_from_where_the_job_failed(lab, job):
    calls = Mark()
    runs = Mark()

    @job
    async def work(job):
        await job.step("paid", calls.hit)
        runs.hit()
        if runs.count == 1:
            raise FatalError("no")
        return "mended"

    job_id = await lab.submit("work")
    await lab.end_of(job_id)
    await lab.client.retry(job_id)
    ended = await lab.end_of(job_id)

    assert (ended.status, ended.output, ended.error, calls.count) == (
        JobStatus.COMPLETED,
        b'"mended"',
        None,
        1,
    )


async def test_retry_is_for_failed_and_cancelled_jobs_only(lab, job):
    gate = Gate()

    @job
    async def work(job):
        await gate.through()

    job_id = await lab.submit("work")
    await gate.reached.wait()
    with pytest.raises(JobNotFinishedError):
        await lab.client.retry(job_id)
    gate.open()
    await lab.end_of(job_id)
    with pytest.raises(JobFinishedError):
        await lab.client.retry(job_id)


async def test_cancelled_job_can_be_retried(lab, job):
    gate = Gate()

    @job
    async def work(job):
        await gate.through()
        return job.attempt

    job_id = await lab.submit("work")
    await gate.reached.wait()
    await lab.client.cancel(job_id)
    assert (await lab.client.cancel(job_id)).cancel_requested_at is not None
    await lab.end_of(job_id)
    gate.open()
    await lab.client.retry(job_id)

    assert (await lab.end_of(job_id)).status is JobStatus.COMPLETED


async def test_fork_keeps_finished_steps_and_leaves_the_source_alone(lab, job):
    calls: list[str] = []

    @job
    async def work(job, value):
        for name in ("a", "b"):
            await job.step(name, calls.append, name)
        await job.save_artifact("x.txt", b"x")
        return value

    source = await lab.submit("work", {"v": 1})
    before = await lab.end_of(source)
    whole = await lab.client.fork(source)
    assert (await lab.end_of(whole.job_id)).output == b'{"v":1}'
    assert calls == ["a", "b"]
    part = await lab.client.fork(source, keep=["a"], value={"v": 2}, budget=Budget(tokens=9))
    ended = await lab.end_of(part.job_id)

    assert (ended.output, ended.budget) == (b'{"v":2}', Budget(tokens=9))
    assert calls == ["a", "b", "b"]
    assert await lab.client.get(source) == before


async def test_fork_of_steps_that_do_not_exist_is_refused(lab, job):
    job(fill)
    source = await lab.submit("fill", {"item": "a"})
    await lab.end_of(source)

    with pytest.raises(InvalidInputError, match=r"\['nope'\] cannot be kept"):
        await lab.client.fork(source, keep=["nope"])


async def test_list_is_newest_first_and_filtered(idle):
    idle.job("fill", fill)
    job_ids = [await idle.submit("fill", {"item": "a"}) for _ in range(3)]
    await idle.client.cancel(job_ids[1])

    listed = await idle.client.list()
    queued = await idle.client.list(JobQuery(status=JobStatus.QUEUED))

    assert [job.job_id for job in listed] == sorted(job_ids, reverse=True)
    assert {job.job_id for job in queued} == {job_ids[0], job_ids[2]}


async def test_artifacts_are_listed_and_streamed(lab, job, tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(b"b" * 5_000_000)
    retries = Mark()

    @job
    async def work(job):
        first = await job.save_artifact("report.pdf", b"%PDF")
        second = await job.save_artifact("big", path, media_type="x/y")
        retries.hit((first, second))
        if retries.count == 1:
            from holdfast.errors import RetryLaterError

            raise RetryLaterError("again", retry_after=timedelta(0))

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    found = await lab.client.artifacts(job_id)
    assert [(a.name, a.size_bytes, a.media_type) for a in found] == [
        ("report.pdf", 4, "application/pdf"),
        ("big", 5_000_000, "x/y"),
    ]
    assert retries.values == [tuple(found)] * 2
    assert b"".join([chunk async for chunk in lab.client.stream_artifact(found[1])]) == path.read_bytes()


async def test_text_is_no_artifact(lab, job):
    @job
    async def work(job):
        await job.save_artifact("a.txt", "text")

    assert "give bytes or a pathlib.Path" in (await lab.end_of(await lab.submit("work"))).error.message


@pytest.mark.parametrize("wait", ["sleep", "wait_for"])
async def test_durations_are_timedeltas(lab, job, wait):
    @job
    async def work(job):
        if wait == "sleep":
            await job.sleep("a", 5)
        await job.wait_for("a", timeout=5)

    assert "give a timedelta" in (await lab.end_of(await lab.submit("work"))).error.message


async def test_event_without_json_form_is_refused(lab, job):
    @job
    async def work(job):
        job.emit("chapter.done", what=object())

    assert (await lab.end_of(await lab.submit("work"))).error.code == "unserializable_value"


async def test_file_that_is_not_there_fails_the_job_by_name(lab, job, tmp_path):
    @job
    async def work(job):
        await job.save_artifact("a", tmp_path / "missing")

    assert (await lab.end_of(await lab.submit("work"))).error.code == "artifact"


# --- what else job code can do -------------------------------------------------------------------


async def test_progress_by_hand_is_kept_with_the_job(lab, job):
    @job
    async def work(job):
        job.report_progress(1, 4, "warming up")
        job.report_progress(2, 4)
        with pytest.raises(Exception, match=r"progress of 5 out of 4; give 0 <= done <= total"):
            job.report_progress(5, 4)

    ended = await lab.end_of(await lab.submit("work"))

    assert (ended.progress.done, ended.progress.fraction) == (2, 0.5)


async def test_progress_in_quick_succession_is_told_at_most_four_times_a_second(lab, job):
    @job
    async def work(job):
        for number in range(100):
            job.report_progress(number, 100)
        await job.step("flush", undos.put, "x")

    job_id = await lab.submit("work")
    await lab.end_of(job_id)

    told = [
        codec.from_json(e.data)["done"] for e in await lab.store.read_events(job_id, types=("progress",))
    ]
    assert told == [0, 99]


async def test_delayed_progress_is_told_while_the_job_goes_on(lab, job):
    gate = Gate()

    @job
    async def work(job):
        job.report_progress(1, 4)
        job.report_progress(2, 4)
        await gate.through()

    job_id = await lab.submit("work")
    event = await lab.event(job_id, "progress", number=2)
    gate.open()
    await lab.end_of(job_id)

    assert codec.from_json(event.data)["done"] == 2


@pytest.mark.parametrize(
    "name", ["chapter", "chapter.", ".done", "job.done", "step.x", "a b.done", "progress.x"]
)
async def test_event_types_that_are_not_free_are_refused(lab, job, name):
    @job
    async def work(job):
        with pytest.raises(InvalidInputError, match="is not free to use"):
            job.emit(name)

    await lab.run("work")


async def test_resource_is_found_by_its_type(folder, clock):
    from holdfast.testing.harness import Harness

    async def work(job):
        with pytest.raises(Exception, match="no resource of type 'float' is provided; provided: str"):
            job.resource(float)
        return job.resource(str)

    async with Harness(folder, clock=clock, resources={str: "the client"}) as harness:
        harness.job("work", work)
        await harness.start_worker()
        assert await harness.run("work") == "the client"


async def test_derived_id_is_the_same_each_time(lab, job):
    @job
    async def work(job):
        assert job.derived_id("a") == job.derived_id("a") != job.derived_id("b")
        return job.job_id

    await lab.run("work")


async def test_streamed_text_is_told_in_few_events_with_its_try(lab, job):
    gate = Gate()

    async def stream():
        for piece in ("Once ", "upon ", "a \ud83d", "\ude00 \udcff"):
            step_scope().emit_delta(piece)
        await gate.through()
        step_scope().emit_delta("end")

    @job
    async def work(job):
        await job.step("s", stream)

    job_id = await lab.submit("work")
    event = await lab.event(job_id, "output.delta")
    gate.open()
    await lab.end_of(job_id)

    assert codec.from_json(event.data) == {
        "key": "s",
        "step_attempt": 1,
        "text": "Once upon a \U0001f600 \ufffd",
    }


async def test_waiting_for_a_job_ends_with_the_waiters_patience(idle):
    idle.job("fill", fill)
    job_id = await idle.submit("fill", {"item": "a"})

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(idle.client.wait(job_id), 0.02)
