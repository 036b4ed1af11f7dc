"""A store that cannot write for a while costs time; it never costs an answer that was paid for."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from holdfast import JobContext
from holdfast.errors import StoreFullError
from holdfast.llm.client import LLM
from holdfast.llm.config import FREE, LLMConfig, ModelConfig
from holdfast.llm.providers.scripted import Scripted
from holdfast.model import CallStatus, JobStatus
from holdfast.testing.clock import ManualClock
from holdfast.testing.crash import Life, MortalProvider, ProviderLog
from holdfast.testing.faults import Fault
from holdfast.testing.harness import Harness
from holdfast.testing.signals import eventually

pytestmark = [pytest.mark.crash, pytest.mark.timeout(60)]

CONCURRENCY = 3
FULL_SECONDS = 200
PADDING = "." * 50_000
"""Makes every stored answer need pages that a full database does not have."""


@pytest.fixture
async def place(tmp_path):
    """A worker with a provider that keeps a log."""
    clock = ManualClock()
    async with Harness(tmp_path, clock=clock) as harness:
        log = ProviderLog()
        provider = MortalProvider(Scripted(clock=clock), Life(), log, number=1)
        config = LLMConfig.single(ModelConfig(model="small", provider="scripted", price=FREE))
        llm = LLM(config, {"scripted": provider}, lanes=harness.store, ledger=harness.store, clock=clock)
        harness.services.resources[LLM] = llm
        harness.job("ask", ask)
        await harness.start_worker(lease_seconds=1_000_000)
        yield harness, clock, log
        await llm.close()


async def ask(job: JobContext) -> list[str]:
    llm = job.resource(LLM)

    async def one(number: int) -> str:
        answer: str = await llm.complete(f"question {number}", max_output_tokens=200)
        return answer + PADDING

    return await job.map("ask", list(range(12)), one, concurrency=CONCURRENCY)


async def pass_time(harness: Harness, clock: ManualClock, job_id: str, seconds: float = 600.0):
    """Let time pass until the job has ended."""
    end = clock.now() + timedelta(seconds=seconds)
    while not (job := await harness.store.get_job(job_id)).status.terminal:
        assert clock.now() < end, f"the job is still {job.status}"
        clock.advance(0.25)
        await asyncio.sleep(0.001)
    return job


def full() -> StoreFullError:
    return StoreFullError("no room left")


@pytest.mark.parametrize("verb", ["settle_call", "put_checkpoint", "take_lane"])
async def test_answer_is_kept_when_the_disk_is_full_for_a_moment(place, verb):
    """Neither booking, nor learning, nor storing may throw a paid answer away."""
    harness, clock, log = place
    harness.faults.add(Fault(verb=verb, action=full(), times=2))

    job = await pass_time(harness, clock, await harness.submit("ask"))

    assert job.status is JobStatus.COMPLETED
    assert len(log.sent) == 12
    assert job.usage.calls == 12


async def test_job_outlasts_a_database_that_is_full_for_minutes(place, caplog):
    """The real thing: SQLite refuses to grow, longer than any retry; what is repeated is told."""
    harness, clock, log = place
    job_id = await harness.submit("ask")
    await eventually(lambda: len(log.sent) > CONCURRENCY)
    writer = harness.real_store._writer
    await writer.submit(lambda tx: tx.execute("PRAGMA max_page_count = 1").fetchone())
    for _ in range(4 * FULL_SECONDS):
        clock.advance(0.25)
        await asyncio.sleep(0.001)
    await writer.submit(lambda tx: tx.execute("PRAGMA max_page_count = 1000000").fetchone())

    job = await pass_time(harness, clock, job_id)

    assert any(getattr(record, "error", None) == "store_full" for record in caplog.records)
    assert job.status is JobStatus.COMPLETED
    calls = {call.call_id: call for call in (await harness.store.get_records(job_id)).calls}
    for sent in log.repeated().values():
        assert all(calls[each.call_id].status is CallStatus.LOST for each in sent[:-1])
    # Every answer came while its worker lived: none is in doubt, whatever the store refused, and
    # what was paid is what the provider says.
    assert sum(call.status is CallStatus.LOST for call in calls.values()) == len(log.sent) - 12
    assert (job.usage.calls, job.usage.uncertain_calls) == (len(log.sent), 0)
    assert (job.usage.input_tokens, job.usage.output_tokens) == log.usage_of(calls)
    # A result that cannot be stored is held for 25 seconds before it is given up.
    assert max(Counter(each.body_hash for each in log.sent).values()) <= 1 + FULL_SECONDS // 25


async def test_job_is_handed_back_when_the_store_is_full_longer_than_a_step_is_retried(place):
    """Trouble of the store fails no job, however often a step has met it."""
    harness, clock, log = place
    harness.faults.add(Fault(verb="reserve_call", action=full(), times=40))

    job = await pass_time(harness, clock, await harness.submit("ask"))

    assert job.status is JobStatus.COMPLETED
    assert (job.attempt, len(log.sent)) == (1, 12)
