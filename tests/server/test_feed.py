"""One reader for all: what followers are given, what it costs, and what they do to each other."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from holdfast.clock import SystemClock
from holdfast.errors import JobNotFoundError, SealedValueError, StoreUnavailableError
from holdfast.model import JobStatus, Lease
from holdfast.sealing import KEY_BYTES, Keyring
from holdfast.server import feed as feeds
from holdfast.server.feed import TAIL_BYTES_MAX, TAIL_EVENTS_MAX, Feed, Follower
from holdfast.store.base import NewEvent, PruneRequest
from holdfast.store.postgres_store import PostgresStore
from holdfast.store.sealed import SealedStore
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.faults import Fault, FaultyStore
from holdfast.testing.signals import PATIENCE_SECONDS, eventually
from holdfast.testing.store_suite.support import finish, settle, start, submit, worker


class Scene:
    """A feed on a store that can fail, and a worker to write with."""

    def __init__(self, store: SqliteStore) -> None:
        self.writer = store
        self.store = FaultyStore(store)
        self.records = FaultyStore(store.service)  # type: ignore[arg-type]
        self.closing = asyncio.Event()
        self.feed = Feed(self.store.as_store, self.records, SystemClock())

    async def write(self, lease: Lease, count: int, size: int = 0) -> None:
        await self.writer.append_events(
            lease, [NewEvent(type="a.b", data=b'{"x":"%b"}' % (b"x" * size)) for _ in range(count)]
        )

    def reads(self, verb: str = "read_events") -> int:
        return (self.store.calls + self.records.calls).count(verb)


@pytest.fixture
async def scene(tmp_path, monkeypatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(feeds, "RETRY_SECONDS", 0.01)
    store = SqliteStore(tmp_path / "holdfast.db")
    await store.open()
    store.beat(worker("w1"), first=True)
    scene = Scene(store)
    async with scene.feed.running(scene.closing):
        yield scene
    await store.close()


async def take(follower: Follower, until: int) -> list[int]:
    """The numbers that a follower is given, up to one."""
    numbers: list[int] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not numbers or numbers[-1] < until:
            frames = await follower.next()
            assert frames, f"nothing after {numbers}"
            numbers += [frame.seq for frame in frames]
    return numbers


async def test_follower_is_given_what_is_there_and_what_comes(scene):
    lease = await start(scene.writer)

    with scene.feed.follow(lease.job_id, 0) as follower:
        there = await take(follower, 2)
        await scene.write(lease, 3)
        come = await take(follower, 5)

    assert (there, come) == ([1, 2], [3, 4, 5])


async def test_frames_are_events_in_both_forms(scene):
    job_id = await submit(scene.writer)
    (event,) = await scene.writer.read_events(job_id)

    with scene.feed.follow(job_id, 0) as follower:
        (frame,) = await follower.next()

    told = {
        "seq": 1,
        "type": "job.queued",
        "at": event.at.isoformat().replace("+00:00", "Z"),
        "data": {},
    }
    assert json.loads(frame.json) == told
    assert frame.sse == b"id: 1\nevent: job.queued\ndata: %b\n\n" % frame.json


async def test_many_followers_of_a_job_cost_one_read(scene):
    lease = await start(scene.writer)
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(scene.feed.follow(lease.job_id, 0)) for _ in range(100)]
        await asyncio.gather(*(take(follower, 2) for follower in followers))
        before = scene.reads()

        await scene.write(lease, 5)
        seen = await asyncio.gather(*(take(follower, 7) for follower in followers))

    assert seen == [[3, 4, 5, 6, 7]] * 100
    assert (before, scene.reads()) == (1, 2)


async def test_news_of_one_job_reads_no_other(scene):
    lease = await start(scene.writer)
    others = [await submit(scene.writer) for _ in range(20)]
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(scene.feed.follow(job_id, 0)) for job_id in others]
        await asyncio.gather(*(take(follower, 1) for follower in followers))
        mine = stack.enter_context(scene.feed.follow(lease.job_id, 0))
        await take(mine, 2)
        before = scene.reads()

        await scene.write(lease, 1)
        await take(mine, 3)

    assert scene.reads() == before + 1


async def test_commit_of_another_process_is_seen_with_one_look_at_all(scene, tmp_path):
    lease = await start(scene.writer)
    others = [await submit(scene.writer) for _ in range(20)]
    other = SqliteStore(tmp_path / "holdfast.db")
    await other.open()
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(scene.feed.follow(job_id, 0)) for job_id in others]
        await asyncio.gather(*(take(follower, 1) for follower in followers))
        mine = stack.enter_context(scene.feed.follow(lease.job_id, 0))
        await take(mine, 2)
        before = scene.reads()

        await other.append_events(lease, [NewEvent(type="a.b")])
        seen = await take(mine, 3)

    await other.close()
    assert (seen, scene.reads()) == ([3], before + 1)


async def test_follower_far_behind_gets_everything_in_order(scene):
    lease = await start(scene.writer)
    await scene.write(lease, 5 * TAIL_EVENTS_MAX)
    end = 5 * TAIL_EVENTS_MAX + 2

    with scene.feed.follow(lease.job_id, 0) as follower:
        assert await take(follower, end) == list(range(1, end + 1))


@pytest.mark.parametrize("after", [0, 1, 2, TAIL_EVENTS_MAX, TAIL_EVENTS_MAX + 1, 3 * TAIL_EVENTS_MAX])
async def test_second_follower_may_be_further_behind_than_the_first(scene, after):
    lease = await start(scene.writer)
    await scene.write(lease, 3 * TAIL_EVENTS_MAX)
    end = 3 * TAIL_EVENTS_MAX + 2

    with scene.feed.follow(lease.job_id, end) as first, scene.feed.follow(lease.job_id, after) as second:
        await scene.write(lease, 1)
        assert await take(first, end + 1) == [end + 1]
        assert await take(second, end + 1) == list(range(after + 1, end + 2))


async def test_slow_follower_misses_nothing_and_holds_up_nobody(scene):
    lease = await start(scene.writer)
    with scene.feed.follow(lease.job_id, 0) as slow, scene.feed.follow(lease.job_id, 0) as quick:
        await take(slow, 2)
        seen = await take(quick, 2)
        for number in range(3, 1_000, 50):
            await scene.write(lease, 50)
            seen += await take(quick, number + 49)

        late = await take(slow, seen[-1])

    assert seen == list(range(1, seen[-1] + 1))
    assert late == seen[2:]


async def test_what_is_kept_of_a_job_is_bounded(scene):
    lease = await start(scene.writer)
    with scene.feed.follow(lease.job_id, 0) as follower:
        await scene.write(lease, 2 * TAIL_EVENTS_MAX)
        await take(follower, 2 * TAIL_EVENTS_MAX + 2)
        many = len(scene.feed._tails[lease.job_id]._frames)
        await scene.write(lease, 20, size=TAIL_BYTES_MAX // 8)
        await take(follower, 2 * TAIL_EVENTS_MAX + 22)
        large = sum(len(frame.sse) for frame in scene.feed._tails[lease.job_id]._frames)

    assert many == TAIL_EVENTS_MAX
    assert TAIL_BYTES_MAX // 2 < large <= TAIL_BYTES_MAX


async def test_event_larger_than_what_is_kept_is_given_all_the_same(scene):
    lease = await start(scene.writer)
    with scene.feed.follow(lease.job_id, 0) as one, scene.feed.follow(lease.job_id, 0) as other:
        await take(one, 2)
        await scene.write(lease, 1, size=2 * TAIL_BYTES_MAX)
        await scene.write(lease, 1)

        assert await take(one, 4) == [3, 4]
        assert await take(other, 4) == [1, 2, 3, 4]


async def test_last_event_of_a_job_that_has_ended_finishes_its_followers(scene):
    lease = await start(scene.writer)
    with scene.feed.follow(lease.job_id, 0) as follower:
        await take(follower, 2)
        unfinished = follower.finished
        await finish(scene.writer, lease)
        await take(follower, 3)

        assert (unfinished, follower.finished) == (False, True)
        assert await follower.next() == ()


async def test_follower_that_has_everything_of_a_finished_job_is_finished_at_once(scene):
    lease = await start(scene.writer)
    await finish(scene.writer, lease)

    with scene.feed.follow(lease.job_id, 3) as follower:
        assert await follower.next() == ()
        assert follower.finished


async def test_retry_goes_on_with_followers_that_have_not_left(scene):
    lease = await start(scene.writer)
    with scene.feed.follow(lease.job_id, 0) as follower:
        await settle(scene.writer, lease, JobStatus.FAILED)
        await take(follower, 3)
        await scene.writer.retry_job(lease.job_id)
        with scene.feed.follow(lease.job_id, 3, known=4) as other:
            await take(other, 4)

        assert not follower.finished
        assert await take(follower, 4) == [4]


async def test_deleted_job_is_told_to_its_followers(scene):
    lease = await start(scene.writer, subject="s")
    await finish(scene.writer, lease)
    with scene.feed.follow(lease.job_id, 0) as follower, scene.feed.follow(lease.job_id, 1) as other:
        await take(follower, 3)
        await scene.writer.prune_jobs(PruneRequest(subject="s"))
        scene.feed._inbox.put((lease.job_id,))
        await eventually(lambda: not scene.feed._tails)

        with pytest.raises(JobNotFoundError):
            await take(other, 3)


async def test_job_that_does_not_exist_is_told(scene):
    with scene.feed.follow("job_none", 0) as follower, pytest.raises(JobNotFoundError):
        await follower.next()


async def test_log_that_cannot_be_opened_is_told(scene):
    job_id = await submit(scene.writer)
    error = SealedValueError(field="event", owner=(), key_id="k", known_key=False)
    scene.store.add(Fault(action=error, verb="read_events"))

    with scene.feed.follow(job_id, 0) as follower, pytest.raises(SealedValueError):
        await follower.next()


@pytest.mark.parametrize("verb", ["read_events", "find_positions"])
async def test_streams_wait_for_a_store_that_is_away(scene, verb, caplog):
    lease = await start(scene.writer)
    with scene.feed.follow(lease.job_id, 0) as follower:
        await take(follower, 2)
        away = Fault(action=StoreUnavailableError("away"), verb=verb, times=3)
        scene.store.add(away)
        scene.records.add(away)
        await scene.write(lease, 2)

        assert await take(follower, 4) == [3, 4]
    assert away.times == 0
    assert [record.message for record in caplog.records] == ["streams wait for the store"]


async def test_follower_behind_waits_for_a_store_that_is_away(scene):
    lease = await start(scene.writer)
    await scene.write(lease, 2 * TAIL_EVENTS_MAX)
    end = 2 * TAIL_EVENTS_MAX + 2
    with scene.feed.follow(lease.job_id, end), scene.feed.follow(lease.job_id, 0) as behind:
        await eventually(lambda: scene.reads("find_positions") > 0)
        away = scene.store.add(Fault(action=StoreUnavailableError("away"), verb="read_events", times=3))

        assert await take(behind, end) == list(range(1, end + 1))
    assert away.times == 0


async def test_feed_survives_what_nobody_expected(scene, caplog):
    lease = await start(scene.writer)
    with scene.feed.follow(lease.job_id, 0) as follower:
        scene.records.add(Fault(action=RuntimeError("a bug"), verb="find_positions"))

        assert await take(follower, 2) == [1, 2]
    assert "feed failed, going on" in caplog.messages


async def test_quiet_log_gives_nothing_at_a_beat(scene):
    job_id = await submit(scene.writer)
    with scene.feed.follow(job_id, 1) as follower:
        scene.feed._tails[job_id].beat()
        waiting = asyncio.create_task(follower.next())
        await asyncio.sleep(0)
        scene.feed._tails[job_id].beat()

        assert await waiting == ()
        assert not follower.finished


async def test_followers_leave_when_the_service_closes(scene):
    job_id = await submit(scene.writer)
    with scene.feed.follow(job_id, 1) as follower:
        waiting = asyncio.create_task(follower.next())
        await asyncio.sleep(0)
        scene.closing.set()

        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await waiting == ()


async def test_job_that_nobody_follows_is_forgotten(scene):
    job_id = await submit(scene.writer)
    with scene.feed.follow(job_id, 0) as one:
        with scene.feed.follow(job_id, 0) as other:
            await take(other, 1)
        await take(one, 1)

    assert scene.feed._tails == {}
    assert scene.writer.hints.idle


async def test_sealed_events_are_opened(scene):
    sealed = SealedStore(scene.writer, Keyring({"k": bytes(KEY_BYTES)}))
    lease = await start(sealed)
    await sealed.append_events(lease, [NewEvent(type="a.b", data=b'{"x":"secret"}')])
    feed = Feed(sealed, scene.writer.service, SystemClock())

    async with feed.running(scene.closing):
        with feed.follow(lease.job_id, 0) as follower:
            frames = await follower.next()

    stored = await scene.writer.read_events(lease.job_id)
    assert b"secret" not in stored[-1].data
    assert json.loads(frames[-1].json)["data"] == {"x": "secret"}


async def test_commit_of_another_process_is_heard_of_on_postgresql(postgres_url, tmp_path):
    store, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
    async with contextlib.AsyncExitStack() as stack:
        for each in (store, other):
            await each.open()
            stack.push_async_callback(each.close)
            await each.listening()
        other.beat(worker("w1"), first=True)
        lease = await start(other)
        feed = await stack.enter_async_context(
            Feed(store, store.service, SystemClock()).running(asyncio.Event())
        )

        with feed.follow(lease.job_id, 0) as follower:
            await take(follower, 2)
            await other.append_events(lease, [NewEvent(type="a.b")] * 3)
            await finish(other, lease)
            seen = await take(follower, 6)
            # It may have read the last event before it looked at the job's end.
            await eventually(lambda: follower.finished)

            assert seen == [3, 4, 5, 6]
