"""What operators ask of the store, on both databases."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest

from holdfast.errors import InvalidInputError
from holdfast.model import CallStatus, JobStatus, SuspendReason
from holdfast.store.base import CallIntent, CallOutcome, LaneAdjustment, LaneRequest
from holdfast.store.postgres_store import PostgresStore
from holdfast.store.service import SpendQuery
from holdfast.testing.clock import ManualClock
from holdfast.testing.store_suite.support import claim, settle, start, submit, worker

HOUR = timedelta(hours=1)


class InsightSuite:
    """Needs a fixture `lab` with `clock` and `open()`."""

    @pytest.fixture
    async def store(self, lab):
        store = await lab.open()
        store.beat(worker("w1"), first=True)
        return store

    async def test_queue_tells_ready_delayed_running_and_suspended_jobs(self, lab, store):
        first_at = lab.clock.now()
        await start(store, queue="slow")
        await settle(store, await start(store, queue="slow"), JobStatus.SUSPENDED,
                     suspend_reason=SuspendReason.BUDGET)  # fmt: skip
        await submit(store, queue="slow")
        lab.clock.advance(60)
        await submit(store, queue="slow")
        await submit(store, queue="slow", delay=HOUR)
        await submit(store, queue="fast")

        fast, slow = await store.service.list_queues(lab.clock.now())

        assert (fast.queue, fast.ready, fast.delayed, fast.running) == ("fast", 1, 0, 0)
        assert (slow.ready, slow.delayed, slow.running) == (2, 1, 1)
        assert slow.suspended == {SuspendReason.BUDGET: 1}
        assert slow.oldest_at == first_at

    async def test_queue_without_a_ready_job_has_no_oldest(self, lab, store):
        await submit(store, delay=HOUR)

        (queue,) = await store.service.list_queues(lab.clock.now())

        assert (queue.ready, queue.delayed, queue.oldest_at) == (0, 1, None)

    async def test_jobs_behind_a_full_concurrency_key_are_held_back(self, lab, store):
        await start(store, concurrency_key="k", concurrency_limit=1)
        await submit(store, concurrency_key="k", concurrency_limit=1)
        assert await claim(store) is None

        (queue,) = await store.service.list_queues(lab.clock.now())

        assert (queue.ready, queue.held_back, queue.running) == (0, 1, 1)

    async def test_empty_store_has_no_queues_lanes_or_spend(self, lab, store):
        now = lab.clock.now()

        assert list(await store.service.list_queues(now)) == []
        assert list(await store.service.list_lanes(now)) == []
        assert list(await store.service.sum_spend(last_hours(now, 1))) == []

    async def test_worker_tells_its_last_heartbeat(self, lab, store):
        beaten_at = lab.clock.now()
        lab.clock.advance(4)

        (state,) = await store.service.list_workers()

        assert (state.worker.worker_id, state.heartbeat_at) == ("w1", beaten_at)
        assert state.expires_at == beaten_at + timedelta(seconds=10)

    async def test_lane_tells_what_is_free_now(self, lab, store):
        await store.take_lane(
            LaneRequest(
                lane="a", tokens=600, requests_per_minute=60, tokens_per_minute=6_000, burst_seconds=10
            )
        )
        lab.clock.advance(2)

        (lane,) = await store.service.list_lanes(lab.clock.now())

        assert (lane.requests_free, lane.requests_room) == (10, 10)
        assert (lane.tokens_free, lane.tokens_room) == (pytest.approx(600), 1_000)
        assert lane.processes_waiting == 0

    async def test_lane_tells_pause_hold_and_who_waits(self, lab, store):
        await store.adjust_lane(LaneAdjustment(lane="a", pause_seconds=30, hold_seconds=None))
        await store.take_lane(
            LaneRequest(
                lane="a", tokens=1, requests_per_minute=60, tokens_per_minute=60, burst_seconds=1,
                asker="p1",
            )
        )  # fmt: skip

        (lane,) = await store.service.list_lanes(lab.clock.now())
        lab.clock.advance(31)
        (later,) = await store.service.list_lanes(lab.clock.now())

        assert lane.state.paused_until is not None
        assert lane.processes_waiting == 1
        assert (later.state.paused_until, later.processes_waiting) == (None, 0)

    async def test_spend_is_summed_by_time_and_kind(self, lab, store):
        began = lab.clock.now()
        await spend(store, "report", "0.25")
        lab.clock.advance(3_600)
        await spend(store, "report", "0.50")
        await spend(store, "report", "1.25", tenant="t")
        await spend(store, "digest", None)

        found = await store.service.sum_spend(last_hours(lab.clock.now(), 2))

        assert [(row.at - began, row.name, row.usage.calls, row.usage.usd) for row in found] == [
            (timedelta(), "report", 1, Decimal("0.25")),
            (HOUR, "digest", 1, Decimal(0)),
            (HOUR, "report", 2, Decimal("1.75")),
        ]
        assert found[1].usage.unpriced_calls == 1
        assert found[2].usage.input_tokens == 20

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"group": "model"}, [("gpt", Decimal(3))]),
            ({"group": "lane"}, [("openai:gpt", Decimal(3))]),
            ({"group": "tenant"}, [("t", Decimal(2)), (None, Decimal(1))]),
            ({"tenant": "t"}, [("report", Decimal(2))]),
            ({"group": "model", "kinds": ("digest",)}, [("gpt", Decimal(1))]),
            ({"kinds": ()}, []),
        ],
    )
    async def test_spend_is_grouped_and_narrowed(self, lab, store, options, expected):
        await spend(store, "digest", "1")
        await spend(store, "report", "2", tenant="t")

        found = await store.service.sum_spend(last_hours(lab.clock.now(), 1, **options))

        assert sorted(((row.name, row.usage.usd) for row in found), key=repr) == sorted(
            expected, key=repr
        )

    async def test_call_possibly_paid_twice_counts_at_what_it_was_reserved(self, lab, store):
        lease = await start(store)
        await store.reserve_call(lease, intent("c1", "0.75"))
        await settle(store, lease, JobStatus.QUEUED)

        (row,) = await store.service.sum_spend(last_hours(lab.clock.now(), 1))

        assert (row.usage.uncertain_calls, row.usage.uncertain_usd) == (1, Decimal("0.75"))
        assert (row.usage.usd, row.usage.unpriced_calls) == (0, 0)

    async def test_spend_outside_of_the_window_is_left_out(self, lab, store):
        await spend(store, "report", "1")
        lab.clock.advance(2 * 3_600)

        assert list(await store.service.sum_spend(last_hours(lab.clock.now(), 1))) == []

    @pytest.mark.parametrize(
        ("hours", "slot"),
        [(0, HOUR), (24 * 93, 24 * HOUR), (24, timedelta(minutes=1)), (1, timedelta())],
    )
    async def test_unbounded_question_for_spend_is_refused(self, lab, store, hours, slot):
        now = lab.clock.now()

        with pytest.raises(InvalidInputError):
            await store.service.sum_spend(SpendQuery(since=now - hours * HOUR, until=now, slot=slot))


def last_hours(now, hours: int, **options) -> SpendQuery:
    """Ask for these hours and the present moment, an hour at a time."""
    until = now + timedelta(seconds=1)
    return SpendQuery(since=now - (hours - 1) * HOUR, until=until, slot=HOUR, **options)


def intent(call_id: str, usd: str | None) -> CallIntent:
    return CallIntent(
        call_id=call_id,
        step_key="s",
        step_attempt=1,
        provider="openai",
        model="gpt",
        reserved_tokens=10,
        reserved_usd=None if usd is None else Decimal(usd),
    )


async def spend(store, kind: str, usd: str | None, tenant: str | None = None) -> None:
    """Have a job of a kind make one call."""
    store.beat(worker("w1"), first=True)
    job_id = await submit(store, kind=kind, tenant=tenant)
    claims = await store.claim_jobs(_claim_of(kind, job_id))
    lease = claims[0].lease
    await store.reserve_call(lease, intent("c", usd))
    outcome = CallOutcome(
        status=CallStatus.SETTLED,
        input_tokens=10,
        output_tokens=5,
        usd=None if usd is None else Decimal(usd),
    )
    await store.settle_call(lease, "c", outcome)


def _claim_of(kind: str, job_id: str):
    from holdfast.store.base import ClaimRequest

    return ClaimRequest(worker_id="w1", kinds=(kind,), job_id=job_id)


class TestSqliteInsight(InsightSuite):
    """On a file."""

    async def test_lines_are_read_from_indexes(self, lab, store):
        from holdfast.store import insight

        plans = await store._read(
            lambda connection: [
                row[3]
                for sql in (*insight.statements(store.dialect), insight._RUNNING)
                for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (1,) * sql.count("?"))
            ]
        )

        assert [plan for plan in plans if " jobs " in f"{plan} "] == [
            "SCAN jobs USING INDEX jobs_claimable",
            "SEARCH jobs USING INDEX jobs_concurrency_line (concurrency_key>?)",
            "SCAN jobs USING INDEX jobs_due",
            "SEARCH jobs USING INDEX jobs_worker (worker_id>?)",
        ]
        assert "USE TEMP B-TREE FOR ORDER BY" not in plans


class PostgresLab:
    """Opens stores on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = ManualClock()
        self.opened: list[PostgresStore] = []

    async def open(self) -> PostgresStore:
        store = PostgresStore(self.url, clock=self.clock)
        await store.open()
        self.opened.append(store)
        return store


@pytest.mark.requires("initdb", "postgres")
class TestPostgresInsight(InsightSuite):
    """On a server."""

    @pytest.fixture
    async def lab(self, postgres_url) -> AsyncIterator[PostgresLab]:
        lab = PostgresLab(postgres_url)
        yield lab
        for store in lab.opened:
            await store.close()
