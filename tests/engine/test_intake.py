"""Jobs come into the slots of a fleet's worker by offers, by the line, and by repair."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil

import pytest
from prometheus_client import REGISTRY

from holdfast.engine.intake import (
    CONSUMER_STUCK_SECONDS,
    OFFER_PATIENCE_SECONDS,
    REPAIR_AFTER,
    REPAIR_INTERVAL_SECONDS,
    SILENT_AFTER_SECONDS,
    SILENT_REPAIRS,
    STORE_TROUBLE_SECONDS,
    OfferedIntake,
)
from holdfast.errors import StoreError, StoreUnavailableError
from holdfast.testing.clock import ManualClock
from holdfast.testing.signals import eventually


@dataclass
class Line:
    """Stands in for the store: who waits, most urgent first, and who was forgotten."""

    waiting: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    away: bool = False
    locked: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    claims: int = 0

    async def claim(self, limit, *, job_id=None, waited=None):
        self.claims += 1
        await asyncio.sleep(0)
        if job_id in self.broken:
            raise StoreError("broken")
        if self.away or job_id in self.locked:
            raise StoreUnavailableError("away")
        if waited is not None:
            assert waited == REPAIR_AFTER
            found = self.forgotten[:limit]
        else:
            found = [each for each in self.waiting if job_id in (None, each)][:limit]
        for each in found:
            (self.waiting if each in self.waiting else self.forgotten).remove(each)
        return found


class Desk:
    """An intake at work, with attempts that last until they are told to end."""

    def __init__(self, slots, line):
        self.clock = ManualClock()
        self.line = line
        self.ends = {}
        self.begun = []
        self.intake = OfferedIntake(slots, claim=line.claim, begin=self.begin, clock=self.clock)
        self.roles = [asyncio.create_task(role()) for role in self.intake.roles]

    def begin(self, job_id):
        self.begun.append(job_id)
        self.ends[job_id] = asyncio.Event()
        task = asyncio.create_task(self.ends[job_id].wait(), name=job_id)
        task.add_done_callback(lambda _: self.intake.release())
        return task

    def end(self, job_id):
        self.ends[job_id].set()

    async def pass_by(self, seconds):
        """Let the time pass as it would: sleepers go back to sleep in between."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            for _ in range(10):
                await asyncio.sleep(0)

    async def close(self):
        for end in self.ends.values():
            end.set()
        for role in self.roles:
            role.cancel()
        await asyncio.gather(*self.roles, return_exceptions=True)


@pytest.fixture
async def desk():
    opened = []

    async def open_desk(slots, *waiting, ready=True):
        found = Desk(slots, Line(list(waiting)))
        opened.append(found)
        if ready:
            await eventually(lambda: found.intake.has_room or not found.intake.free)
        return found

    yield open_desk
    for each in opened:
        await each.close()


async def test_worker_begins_with_whoever_waits(desk):
    found = await desk(2, "urgent", "next", "last")

    assert found.begun == ["urgent", "next"]
    assert not found.intake.has_room


async def test_offered_job_is_claimed_and_begun(desk):
    found = await desk(2)
    found.line.waiting.append("job")

    attempt = await found.intake.offer("job")

    assert attempt is not None
    assert attempt.get_name() == "job"
    assert (found.intake.free, found.intake.has_room) == (1, True)


async def test_offered_job_that_is_not_to_be_had_takes_no_slot(desk):
    found = await desk(1)

    assert await found.intake.offer("gone") is None

    await eventually(lambda: found.intake.has_room)
    assert found.intake.free == 1


async def test_slot_that_frees_goes_to_the_next_in_line_before_a_waiting_offer(desk):
    found = await desk(1, "first")
    found.line.waiting += ["urgent", "offered"]
    offer = asyncio.create_task(found.intake.offer("offered"))
    await asyncio.sleep(0)

    found.end("first")
    await eventually(lambda: len(found.begun) == 2)
    found.end("urgent")
    await eventually(lambda: len(found.begun) == 3)
    found.end("offered")

    assert found.begun == ["first", "urgent", "offered"]
    assert await offer is None


async def test_offer_to_a_full_worker_is_let_go_after_a_while(desk):
    found = await desk(1, "first")
    offer = asyncio.create_task(found.intake.offer("other"))
    await asyncio.sleep(0)

    await found.pass_by(ceil(OFFER_PATIENCE_SECONDS))

    with pytest.raises(TimeoutError):
        await offer


async def test_parallel_offers_never_take_more_slots_than_there_are(desk):
    found = await desk(3)
    names = [f"job {number}" for number in range(10)]
    found.line.waiting += names

    offers = [asyncio.create_task(found.intake.offer(name)) for name in names]
    await eventually(lambda: len(found.begun) >= 3)
    await found.pass_by(ceil(OFFER_PATIENCE_SECONDS))

    assert len(found.begun) == 3
    assert found.intake.free == 0
    await asyncio.gather(*offers, return_exceptions=True)


async def test_offer_is_let_go_while_the_store_is_away_and_others_are_heard_when_it_answers(desk):
    found = await desk(2)
    found.line.waiting.append("job")
    found.line.away = True
    offer = asyncio.create_task(found.intake.offer("job"))
    await eventually(lambda: not found.intake.has_room)

    await found.pass_by(STORE_TROUBLE_SECONDS)
    with pytest.raises(TimeoutError):
        await offer
    found.line.away = False
    await found.pass_by(STORE_TROUBLE_SECONDS)

    assert found.begun == ["job"]
    await eventually(lambda: found.intake.has_room)


async def test_offer_that_only_its_own_claim_fails_for_is_not_tried_again_at_once(desk):
    found = await desk(2)
    found.line.locked = {"job"}
    offer = asyncio.create_task(found.intake.offer("job"))
    claims = found.line.claims

    for _ in range(100):
        await asyncio.sleep(0)

    assert found.line.claims <= claims + 2  # the offer, and the line that was seen to its end again
    await found.pass_by(STORE_TROUBLE_SECONDS)
    with pytest.raises(TimeoutError):
        await offer


async def test_offer_that_can_never_be_claimed_is_refused(desk):
    found = await desk(2)
    found.line.broken = {"job"}

    assert await found.intake.offer("job") is None
    assert (found.intake.free, found.intake.has_room) == (2, True)


async def test_slots_are_given_back_once_when_a_claimed_job_cannot_begin(desk):
    found = await desk(3)
    found.line.forgotten += ["one", "bad"]
    begin = found.intake._begin

    def begin_but_one(job_id):
        if job_id == "bad":
            raise RuntimeError(job_id)
        return begin(job_id)

    found.intake._begin = begin_but_one
    with pytest.raises(RuntimeError):
        await found.intake._fill(2, waited=REPAIR_AFTER)
    assert found.intake.free == 2
    found.end("one")
    await found.pass_by(1)

    assert found.intake.free == 3


async def test_worker_with_fewer_slots_than_attempts_has_no_room(desk):
    found = await desk(3)
    found.line.waiting += ["one", "two"]
    for job_id in ("one", "two"):
        await found.intake.offer(job_id)
    assert found.intake.has_room

    told = []
    found.intake.on_room = lambda: told.append(found.intake.has_room)
    found.intake.resize(1)
    assert not found.intake.has_room
    found.end("one")
    await found.pass_by(1)
    assert (found.intake.has_room, told) == (False, [])
    found.end("two")

    await eventually(lambda: found.intake.has_room)
    assert told == [True]


async def test_jobs_that_nobody_came_for_are_repaired(desk, caplog):
    found = await desk(3)
    found.line.forgotten += ["lost 1", "lost 2"]

    await found.pass_by(REPAIR_INTERVAL_SECONDS)

    assert found.begun == ["lost 1", "lost 2"]
    assert "jobs repaired that nobody came for" in caplog.text


async def test_repair_goes_on_after_trouble_with_the_store(desk):
    found = await desk(3)
    found.line.away = True
    await found.pass_by(REPAIR_INTERVAL_SECONDS)
    found.line.away = False
    found.line.forgotten.append("lost")

    await found.pass_by(2 * REPAIR_INTERVAL_SECONDS + STORE_TROUBLE_SECONDS)

    assert found.begun == ["lost"]


async def test_full_worker_repairs_nothing(desk):
    found = await desk(1, "first")
    claims = found.line.claims

    await found.pass_by(2 * REPAIR_INTERVAL_SECONDS)

    assert found.line.claims == claims


async def test_more_slots_are_filled_at_once_and_fewer_by_and_by(desk):
    found = await desk(1, "first", "second", "third")

    found.intake.resize(2)
    await eventually(lambda: found.begun == ["first", "second"])
    found.intake.resize(1)
    found.end("first")
    await found.pass_by(1)

    assert found.begun == ["first", "second"]
    assert found.intake.free == 0


async def test_worker_that_leaves_takes_nothing_any_more(desk):
    found = await desk(2)
    found.line.waiting.append("job")

    found.intake.closed = True

    with pytest.raises(TimeoutError):
        await found.intake.offer("job")
    assert (found.begun, found.intake.free) == ([], 0)


async def silence(found):
    """Have the consumer bring nothing while job after job has to be repaired."""
    for number in range(SILENT_REPAIRS):
        found.line.forgotten.append(f"lost {number}")
        await found.pass_by(REPAIR_INTERVAL_SECONDS)
        found.intake.consumer_seen(connected=True)
    await found.pass_by(SILENT_AFTER_SECONDS)
    found.intake.consumer_seen(connected=True)
    await found.pass_by(REPAIR_INTERVAL_SECONDS)


def silence_told():
    return REGISTRY.get_sample_value("holdfast_consumer_silent")


async def test_consumer_that_brings_nothing_while_jobs_are_repaired_is_told(desk, caplog):
    found = await desk(9)
    found.intake.consumer_seen(connected=True)

    await silence(found)

    assert silence_told() == 1
    assert caplog.text.count("consumer receives nothing") == 1
    await found.intake.offer("anything")
    await found.pass_by(REPAIR_INTERVAL_SECONDS)
    assert silence_told() == 0


async def test_consumer_without_a_broker_is_not_told(desk, caplog):
    found = await desk(9)
    found.intake.consumer_seen(connected=False)

    await found.pass_by(CONSUMER_STUCK_SECONDS + REPAIR_INTERVAL_SECONDS)

    assert silence_told() == 0
    assert "consumer" not in caplog.text


async def test_consumer_whose_loop_hangs_is_told(desk, caplog):
    found = await desk(1)
    found.intake.consumer_seen(connected=True)

    await found.pass_by(CONSUMER_STUCK_SECONDS + 2 * REPAIR_INTERVAL_SECONDS)

    assert silence_told() == 1
    assert caplog.text.count("consumer's loop is stuck") == 1


def test_repair_comes_after_a_message_had_its_time():
    assert timedelta(seconds=3) <= REPAIR_AFTER <= timedelta(seconds=5)
