"""What `holdfast.jobs.Jobs` promises, kept by the client of a store and by that of a service."""

from dataclasses import replace
from datetime import timedelta

import pydantic
import pytest

from holdfast import JobContext
from holdfast.errors import (
    CheckpointTypeError,
    IdempotencyConflictError,
    InvalidInputError,
    JobCancelledError,
    JobFailedError,
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    UnknownJobKindError,
    UnserializableValueError,
)
from holdfast.model import Artifact, Budget, JobStatus
from holdfast.store.base import JobQuery

ABSENT = "job_00000000000000000000000000"


class Greeting(pydantic.BaseModel):
    text: str


async def make(job: JobContext) -> Greeting:
    return await job.step("make", lambda: Greeting(text="hi"))


async def test_submitted_job_is_what_the_store_has(lab):
    job = await lab.jobs.submit(
        "greet",
        "ada",
        idempotency_key="k",
        queue="fast",
        priority=3,
        tenant="t",
        subject="s",
        budget=Budget(usd="1.5", tokens=9),
        delay=timedelta(hours=1),
    )

    stored = await lab.harness.store.get_job(job.job_id)
    assert job == replace(stored, epoch=0)
    assert (job.input, job.queue, job.budget) == (b'"ada"', "fast", Budget(usd="1.5", tokens=9))


async def test_input_may_be_a_model(lab):
    async def model(job, greeting: Greeting) -> str:
        return greeting.text

    lab.harness.job("model", model)
    job = await lab.jobs.submit("model", Greeting(text="hi"))

    assert job.input == b'{"text":"hi"}'


async def test_same_key_gives_the_same_job_and_another_input_a_conflict(lab):
    first = await lab.jobs.submit("greet", "ada", idempotency_key="k")
    second = await lab.jobs.submit("greet", "ada", idempotency_key="k")

    with pytest.raises(IdempotencyConflictError) as caught:
        await lab.jobs.submit("greet", "bob", idempotency_key="k")

    assert first == second
    assert (caught.value.key, caught.value.job_id) == ("k", first.job_id)


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_unusable_key_is_refused(lab, key):
    with pytest.raises(InvalidInputError, match=f"key of {len(key)} characters"):
        await lab.jobs.submit("greet", "ada", idempotency_key=key)


async def test_unknown_kind_is_refused(lab):
    with pytest.raises(UnknownJobKindError, match="'gret' is not registered") as caught:
        await lab.jobs.submit("gret")

    assert caught.value.kind == "gret"


@pytest.mark.parametrize("value", [5, {"name": "ada"}])
async def test_input_that_does_not_fit_is_refused(lab, value):
    with pytest.raises(InvalidInputError, match="does not fit its model"):
        await lab.jobs.submit("greet", value)


async def test_input_without_json_form_is_refused(lab):
    with pytest.raises(InvalidInputError):
        await lab.jobs.submit("greet", {1})


async def test_absent_job_is_told_by_every_verb(lab):
    jobs = lab.jobs
    verbs = [
        jobs.get(ABSENT),
        jobs.records(ABSENT),
        jobs.cancel(ABSENT),
        jobs.signal(ABSENT, "go"),
        jobs.retry(ABSENT),
        jobs.fork(ABSENT),
        jobs.set_budget(ABSENT, Budget()),
        jobs.wait(ABSENT),
        jobs.artifacts(ABSENT),
        anext(aiter(jobs.events(ABSENT))),
    ]
    for verb in verbs:
        with pytest.raises(JobNotFoundError) as caught:
            await verb
        assert caught.value.job_id == ABSENT


async def test_events_are_gapless_and_end_with_the_job(lab):
    await lab.harness.start_worker()
    job = await lab.jobs.submit("holds")
    seen = []
    async for event in lab.jobs.events(job.job_id):
        seen.append(event)
        if event.type == "step.started":
            lab.gate.open()

    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert seen == list(await lab.harness.store.read_events(job.job_id))
    assert seen[-1].type == "job.completed"


async def test_events_go_on_after_any_number(lab):
    await lab.harness.start_worker()
    job = await lab.jobs.wait((await lab.jobs.submit("greet", "ada")).job_id)

    rest = [event.seq async for event in lab.jobs.events(job.job_id, after=2)]
    none = [event.seq async for event in lab.jobs.events(job.job_id, after=job.event_seq)]
    beyond = [event.seq async for event in lab.jobs.events(job.job_id, after=999)]

    assert (rest, none, beyond) == (list(range(3, job.event_seq + 1)), [], [])


async def test_wait_returns_the_ended_job(lab):
    await lab.harness.start_worker()
    job = await lab.jobs.submit("holds")
    await lab.gate.reached.wait()
    lab.gate.open()

    ended = await lab.jobs.wait(job.job_id)

    assert (ended.status, ended.output) == (JobStatus.COMPLETED, b'"held"')


async def test_result_is_of_the_type_that_is_asked_for(lab):
    lab.harness.job("make", make)
    await lab.harness.start_worker()
    job = await lab.jobs.submit("make")

    assert await lab.jobs.result(job.job_id, output=Greeting) == Greeting(text="hi")
    with pytest.raises(CheckpointTypeError, match="does not fit the type"):
        await lab.jobs.result(job.job_id, output=list[int])


async def test_result_of_nothing_is_none(lab):
    await lab.harness.start_worker()

    assert await lab.jobs.result((await lab.jobs.submit("files")).job_id) is None


async def test_result_of_a_failed_job_tells_its_error(lab):
    await lab.harness.start_worker()
    job = await lab.jobs.submit("fails")

    with pytest.raises(JobFailedError, match="StepFailedError: step 'cursed' failed"):
        await lab.jobs.result(job.job_id)

    error = (await lab.jobs.get(job.job_id)).error
    stored = (await lab.harness.store.get_job(job.job_id)).error
    assert error == replace(stored, traceback=error.traceback)


async def test_result_of_a_cancelled_job_is_an_error_of_its_own(lab):
    job = await lab.jobs.submit("greet", "ada")
    cancelled = await lab.jobs.cancel(job.job_id)
    again = await lab.jobs.cancel(job.job_id)

    with pytest.raises(JobCancelledError):
        await lab.jobs.result(job.job_id)
    assert cancelled.status is again.status is JobStatus.CANCELLED


async def test_output_of_a_job_under_way_is_refused(lab):
    job = await lab.jobs.submit("greet", "ada")

    with pytest.raises(JobNotFinishedError, match="it is 'queued'"):
        lab.jobs.output_of(job)


async def test_retry_is_for_ended_jobs_that_did_not_complete(lab):
    await lab.harness.start_worker()
    done = await lab.jobs.wait((await lab.jobs.submit("greet", "ada")).job_id)
    with pytest.raises(JobFinishedError):
        await lab.jobs.retry(done.job_id)
    with pytest.raises(JobFinishedError):
        await lab.jobs.cancel(done.job_id)

    failed = await lab.jobs.wait((await lab.jobs.submit("fails")).job_id)
    retried = await lab.jobs.retry(failed.job_id)

    assert (failed.status, retried.status) == (JobStatus.FAILED, JobStatus.QUEUED)


async def test_retry_of_a_job_under_way_is_refused(lab):
    job = await lab.jobs.submit("greet", "ada")

    with pytest.raises(JobNotFinishedError, match="it is 'queued'"):
        await lab.jobs.retry(job.job_id)


async def test_signal_reaches_the_job(lab):
    await lab.harness.start_worker()
    job = await lab.jobs.submit("waits")

    seq = await lab.jobs.signal(job.job_id, "go", {"yes": [1, None]})

    assert seq > 1
    assert await lab.jobs.result(job.job_id) == {"yes": [1, None]}
    with pytest.raises(JobFinishedError):
        await lab.jobs.signal(job.job_id, "go")


async def test_signal_without_json_form_is_refused(lab):
    job = await lab.jobs.submit("waits")

    with pytest.raises(UnserializableValueError):
        await lab.jobs.signal(job.job_id, "go", {1})


async def test_fork_keeps_steps_and_takes_another_input_and_budget(lab):
    await lab.harness.start_worker()
    source = await lab.jobs.wait((await lab.jobs.submit("greet", "ada")).job_id)

    kept = await lab.jobs.fork(source.job_id, keep=["greet"])
    other = await lab.jobs.fork(source.job_id, keep=[], value="bob", budget=Budget(tokens=5))

    assert await lab.jobs.result(kept.job_id) == "ADA"
    assert await lab.jobs.result(other.job_id) == "BOB"
    assert other.budget == Budget(tokens=5)
    with pytest.raises(InvalidInputError, match="'nope'"):
        await lab.jobs.fork(source.job_id, keep=["nope"])


async def test_budget_is_replaced_whole(lab):
    job = await lab.jobs.submit("greet", "ada", budget=Budget(usd=1, tokens=5))

    changed = await lab.jobs.set_budget(job.job_id, Budget(usd="2.25"))

    assert changed.budget == (await lab.jobs.get(job.job_id)).budget == Budget(usd="2.25")


async def test_list_is_newest_first_filtered_and_paged(lab):
    ids = [(await lab.jobs.submit("greet", "ada", tenant=f"t{n % 2}")).job_id for n in range(5)]
    await lab.jobs.cancel(ids[0])

    everything = [job.job_id for job in await lab.jobs.list()]
    some = [job.job_id for job in await lab.jobs.list(JobQuery(tenant="t0", limit=2))]
    rest = [job.job_id for job in await lab.jobs.list(JobQuery(tenant="t0", before=some[-1]))]
    cancelled = await lab.jobs.list(JobQuery(status=JobStatus.CANCELLED, kind="greet"))

    assert everything == ids[::-1]
    assert (some, rest) == ([ids[4], ids[2]], [ids[0]])
    assert [job.job_id for job in cancelled] == [ids[0]]


@pytest.mark.parametrize("limit", [0, 1001])
async def test_list_has_a_limit(lab, limit):
    with pytest.raises(InvalidInputError, match="1 to 1000"):
        await lab.jobs.list(JobQuery(limit=limit))


async def test_records_have_steps_and_files(lab):
    await lab.harness.start_worker()
    job = await lab.jobs.wait((await lab.jobs.submit("files")).job_id)

    records = await lab.jobs.records(job.job_id)
    stored = await lab.harness.store.get_records(job.job_id)

    def told(found):
        artifact = found.artifact
        return (
            *(found.key, found.finished, found.seconds, found.attempts, found.number),
            *(found.starts, found.finished_at, artifact and artifact.sha256),
        )

    assert list(map(told, records.checkpoints)) == list(map(told, stored.checkpoints))


async def test_artifacts_are_listed_and_read(lab):
    await lab.harness.start_worker()
    job = await lab.jobs.wait((await lab.jobs.submit("files")).job_id)

    found = await lab.jobs.artifacts(job.job_id)
    contents = [b"".join([chunk async for chunk in lab.jobs.stream_artifact(each)]) for each in found]

    assert all(isinstance(each, Artifact) for each in found)
    assert [each.name for each in found] == ["a.txt", "letters/b c.txt"]
    assert contents == [b"first", b"second " * 1000]


async def test_get_may_add_the_progress_of_children(lab):
    job = await lab.jobs.submit("greet", "ada")

    assert (await lab.jobs.get(job.job_id, with_children=True)).job_id == job.job_id
