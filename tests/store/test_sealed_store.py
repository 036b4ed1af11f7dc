"""A sealed store keeps every promise of the seam, and keeps content to itself."""

import sqlite3
from pathlib import Path

import pytest

from holdfast.errors import IdempotencyConflictError, SealedValueError, StoreFullError
from holdfast.ids import new_webhook_secret
from holdfast.model import (
    Budget,
    Checkpoint,
    JobStatus,
    Progress,
    StoredError,
    UndoCall,
)
from holdfast.sealing import KEY_BYTES, Keyring
from holdfast.store.base import ClaimRequest, JobQuery, NewEvent, Store
from holdfast.store.orders import OrderStore
from holdfast.store.sealed import UNREADABLE_WAIT, SealedStore, open_sealed
from holdfast.store.service import DELIVERY_KIND, ServiceStore, WebhookSecrets
from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.faults import Fault, FaultyStore
from holdfast.testing.store_suite import StoreSuite
from holdfast.testing.store_suite.order_keeping import OrderKeepingSuite
from holdfast.testing.store_suite.orders import OrderSuite
from holdfast.testing.store_suite.support import (
    claim,
    claimed,
    event_types,
    finish,
    job,
    last_event,
    put,
    settle,
    start,
    submit,
    worker,
)
from holdfast.testing.store_suite.webhooks import webhook
from tests.store.conftest import SqliteLab

MARK = "Zaphod Beeblebrox"
OLD = {"old": bytes(range(KEY_BYTES))}
NEW = {"new": bytes(range(1, KEY_BYTES + 1))}
JSON_MARK = f'"{MARK}"'.encode()
UNDO = UndoCall(function="shop:refund", arguments=f'[["{MARK}"],{{}}]'.encode())
ERROR = StoredError(
    type="ValueError", code="exception", message=MARK, details={"who": MARK}, traceback=f"… {MARK}"
)
PROGRESS = Progress(done=1, total=2, label=MARK)


class SealedLab:
    """Opens one SQLite file under the keys of the test's choice."""

    def __init__(self, inner: SqliteLab) -> None:
        self.inner = inner
        self.clock = inner.clock

    async def open(self, keys: dict[str, bytes] | None = None) -> SealedStore:
        return SealedStore(await self.inner.open(), Keyring(OLD if keys is None else keys))

    def records_of(self, store: Store) -> ServiceStore:
        assert isinstance(store, SealedStore)
        assert isinstance(store._store, SqliteStore)
        return store._store.service.sealed_by(Keyring(OLD))

    def orders_of(self, store: Store, keys: dict[str, bytes] | None = None) -> OrderStore:
        assert isinstance(store, SealedStore)
        assert isinstance(store._store, SqliteStore)
        return store._store.orders.sealed_by(Keyring(OLD if keys is None else keys))


@pytest.fixture
async def lab(lab: SqliteLab) -> SealedLab:
    return SealedLab(lab)


class TestSealedStore(StoreSuite, OrderSuite, OrderKeepingSuite):
    """Runs the conformance suite on a sealed SQLite file per test."""


async def write_everything(store: Store, name: str = "k") -> str:
    """Let a job pass through with the mark in every field that holds content; return its id."""
    job_id = await submit(store, input=JSON_MARK, idempotency_key=name)
    await store.signal_job(job_id, "approval", JSON_MARK)
    lease = (await claimed(store, job_id)).lease
    await store.begin_step(lease, "pay", UNDO)
    text = f'{{"key":"pay","step_attempt":1,"text":"{MARK}"}}'.encode()
    own = NewEvent(type="guest.greeted", data=f'{{"name":"{MARK}"}}'.encode())
    await store.append_events(lease, [NewEvent(type="output.delta", data=text), own], PROGRESS)
    await store.put_checkpoint(lease, Checkpoint(key="pay", value=JSON_MARK, undo=UNDO), [own])
    await settle(store, lease, JobStatus.QUEUED, error=ERROR, progress=PROGRESS)
    lease = (await claimed(store, job_id)).lease
    await settle(store, lease, JobStatus.FAILED, output=JSON_MARK, error=ERROR)
    return job_id


async def content(store: Store, job_id: str) -> list[object]:
    """Return all content of a job as its readers see it."""
    found = await store.get_job(job_id)
    records = await store.get_records(job_id)
    events = [(event.type, event.data) for event in await store.read_events(job_id)]
    undos = [each.undo for each in records.checkpoints]
    return [found.input, found.output, found.error, found.progress, undos, events]


def everything_in(folder: Path) -> bytes:
    """Return all bytes of the database: the file, its log and its index."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("holdfast.db*")))


async def test_no_content_lies_in_the_database(lab: SealedLab, tmp_path: Path):
    store = await lab.open()
    store.beat(worker("w1"), first=True)

    job_id = await write_everything(store)

    assert MARK.encode() not in everything_in(tmp_path)
    assert [MARK in str(each) for each in await content(store, job_id)] == [True] * 6
    await lab.inner.close()
    assert MARK.encode() not in everything_in(tmp_path)


async def test_mark_would_be_found_without_keys(lab: SealedLab, tmp_path: Path):
    store = await lab.open({})
    store.beat(worker("w1"), first=True)

    await write_everything(store)

    assert everything_in(tmp_path).count(MARK.encode()) >= 12


async def test_content_reads_the_same_sealed_and_clear(lab: SealedLab):
    sealed, clear = await lab.open(OLD), await lab.open({})
    sealed.beat(worker("w1"), first=True)

    first, second = await write_everything(sealed, "a"), await write_everything(clear, "b")

    assert await content(sealed, first) == await content(clear, second)


async def test_streamed_text_is_emptied_by_its_result(lab: SealedLab):
    store = await lab.open()
    store.beat(worker("w1"), first=True)
    lease = await start(store)
    for key in ("draft", "other"):
        data = f'{{"key":"{key}","step_attempt":1,"text":"{MARK}"}}'.encode()
        await store.append_events(lease, [NewEvent(type="output.delta", data=data)])

    done = NewEvent(type="output.completed", data=b'{"key":"draft"}')
    await store.put_checkpoint(lease, Checkpoint(key="draft", value=JSON_MARK), [done])

    first, second = await store.read_events(lease.job_id, types=("output.delta",))
    assert first.data == b"{}"
    assert MARK.encode() in second.data
    assert (await last_event(store, lease.job_id)) == ("output.completed", {"key": "draft"})


# switching on and rotation


async def test_what_was_written_before_there_was_a_key_is_still_read(lab: SealedLab):
    clear = await lab.open({})
    clear.beat(worker("w1"), first=True)
    job_id = await write_everything(clear)
    before = await content(clear, job_id)

    sealed = await lab.open(OLD)

    assert await content(sealed, job_id) == before
    assert not (await sealed.insert_job(job(input=JSON_MARK, idempotency_key="k"))).created


async def test_after_a_rotation_both_keys_open(lab: SealedLab):
    store = await lab.open(OLD)
    store.beat(worker("w1"), first=True)
    first = await write_everything(store, "a")
    before = await content(store, first)

    rotated = await lab.open(NEW | OLD)
    second = await write_everything(rotated, "b")

    assert await content(rotated, first) == before == await content(rotated, second)
    only_new = await lab.open(NEW)
    assert await content(only_new, second) == before
    with pytest.raises(SealedValueError, match="'old', which is not among the sealing keys"):
        await only_new.get_job(first)


async def test_attempt_goes_on_with_steps_of_the_old_key(lab: SealedLab):
    store = await lab.open(OLD)
    store.beat(worker("w1"), first=True)
    job_id = await submit(store, input=JSON_MARK)
    lease = (await claimed(store, job_id)).lease
    await store.put_checkpoint(lease, Checkpoint(key="pay", value=JSON_MARK, undo=UNDO), ())
    await store.signal_job(job_id, "approval", JSON_MARK)
    await settle(store, lease, JobStatus.QUEUED)

    taken = await claimed(await lab.open(NEW | OLD), job_id)

    assert taken.job.input == taken.checkpoints["pay"].value == JSON_MARK
    assert taken.checkpoints["pay"].undo == UNDO
    assert [signal.data for signal in taken.signals] == [
        f'{{"name":"approval","payload":"{MARK}"}}'.encode()
    ]


@pytest.mark.parametrize("keys", [OLD, NEW | OLD])
async def test_same_request_is_recognised_across_a_rotation(lab: SealedLab, keys: dict[str, bytes]):
    first = job(input=JSON_MARK, idempotency_key="k")
    await (await lab.open(OLD)).insert_job(first)
    store = await lab.open(keys)

    by_key = await store.insert_job(job(input=JSON_MARK, idempotency_key="k"))
    by_id = await store.insert_job(job(input=JSON_MARK, job_id=first.job_id))

    assert [(each.created, each.job.job_id) for each in (by_key, by_id)] == [(False, first.job_id)] * 2
    assert by_key.job.input == JSON_MARK
    with pytest.raises(IdempotencyConflictError):
        await store.insert_job(job(input=b'"other"', idempotency_key="k"))
    with pytest.raises(IdempotencyConflictError):
        await store.insert_job(job(input=JSON_MARK, idempotency_key="k", kind="other"))


async def test_fork_takes_results_along(lab: SealedLab):
    store = await lab.open(OLD)
    store.beat(worker("w1"), first=True)
    source = await start(store, input=JSON_MARK)
    await put(store, source, "a", JSON_MARK)
    rotated, copy = await lab.open(NEW | OLD), job(input=JSON_MARK)

    forked = await rotated.fork_job(source.job_id, copy, keep=None)

    assert forked.input == JSON_MARK
    assert (await claimed(rotated, forked.job_id)).checkpoints["a"].value == JSON_MARK
    turned_back = await lab.open(OLD | NEW)
    assert (await turned_back.fork_job(source.job_id, copy, keep=None)).job_id == forked.job_id


async def test_equal_inputs_of_two_jobs_do_not_look_equal(lab: SealedLab):
    store, raw = await lab.open(), await lab.inner.open()

    ids = [await submit(store, input=JSON_MARK) for _ in range(2)]

    first, second = [(await raw.get_job(job_id)).input for job_id in ids]
    assert first != second


# without the right key


async def test_job_without_its_key_is_handed_back_with_the_reason(lab: SealedLab):
    store = await lab.open(OLD)
    store.beat(worker("w1"), first=True)
    sealed = await submit(store, input=JSON_MARK)
    other = await lab.open(NEW)
    readable = await submit(other)

    taken = await claim(other)

    assert taken is not None
    assert taken.job.job_id == readable
    # Only its error is told, so that it can be read without the key.
    [event] = await other.read_events(sealed, types=("attempt.failed",))
    assert b"'old'" in event.data
    assert b'"sealed_value"' in event.data
    assert MARK.encode() not in event.data
    assert await claim(other) is None
    lab.clock.advance(UNREADABLE_WAIT.total_seconds())
    store.beat(worker("w2"), first=True)
    found = await claimed(store, sealed, "w2")
    assert (found.job.input, found.job.attempt) == (JSON_MARK, 1)


async def test_trouble_with_handing_back_keeps_no_other_claim_from_its_worker(lab: SealedLab):
    sealed = await submit(await lab.open(OLD), input=JSON_MARK, priority=9)
    faulty = FaultyStore(await lab.inner.open())
    faulty.add(Fault(verb="settle_attempt", action=StoreFullError("no room left")))
    other = SealedStore(faulty.as_store, Keyring(NEW))
    other.beat(worker("w1"), first=True)
    readable = await submit(other)

    claims = await other.claim_jobs(ClaimRequest(worker_id="w1", kinds=("report",), limit=2))

    assert [each.job.job_id for each in claims] == [readable]
    assert [each.job_id for each in await other.list_jobs(JobQuery(status=JobStatus.RUNNING))] == [
        readable,
        sealed,
    ]


async def test_job_without_its_key_can_be_listed_and_ended(lab: SealedLab):
    sealed = await submit(await lab.open(OLD), input=JSON_MARK)
    other = await lab.open(NEW)

    [listed] = await other.list_jobs(JobQuery())
    cancelled = await other.cancel_job(sealed)

    assert listed.input.startswith(b'"$sealed:old:')
    assert cancelled.status is JobStatus.CANCELLED
    assert (await event_types(other, sealed))[-1] == "job.cancelled"


async def test_conflict_that_cannot_be_judged_is_told_and_changes_nothing(lab: SealedLab):
    await submit(await lab.open(OLD), input=JSON_MARK, idempotency_key="k")
    other = await lab.open(NEW)

    with pytest.raises(SealedValueError):
        await other.insert_job(job(input=JSON_MARK, idempotency_key="k"))

    assert len(await other.list_jobs(JobQuery())) == 1


async def test_start_without_any_key_on_a_sealed_store_is_refused(lab: SealedLab):
    inner = await lab.inner.open()
    assert isinstance(await open_sealed(inner, Keyring()), SealedStore)
    await submit(await open_sealed(inner, Keyring(OLD)), input=JSON_MARK)

    with pytest.raises(SealedValueError, match="HOLDFAST_SEALING_KEYS"):
        await open_sealed(inner, Keyring())

    assert isinstance(await open_sealed(inner, Keyring(NEW)), SealedStore)


# tampering

_TAMPERED = {
    "input": ("UPDATE payloads SET input = ?", "%s", "get_job"),
    "output": ("UPDATE payloads SET output = ?", "%s", "get_job"),
    "undo": ("UPDATE checkpoints SET undo_arguments = ?", "%s", "get_records"),
    "event": (
        "UPDATE events SET data = ? WHERE type = 'guest.greeted'",
        '{"sealed":%s}',
        "read_events",
    ),
    "signal": (
        "UPDATE events SET data = ? WHERE type = 'signal.received'",
        '{"name":"approval","payload":%s}',
        "read_events",
    ),
}


@pytest.mark.parametrize("damage", ["cut", "moved", "nonsense"])
@pytest.mark.parametrize("field", _TAMPERED)
async def test_tampering_is_told_and_never_read_as_content(lab: SealedLab, field: str, damage: str):
    store = await lab.open()
    store.beat(worker("w1"), first=True)
    job_id = await write_everything(store)
    # What another job's own input looks like at rest.
    moved = (await (await lab.inner.open()).get_job(await submit(store, input=JSON_MARK))).input.decode()
    text = {"cut": moved[:-9] + '"', "moved": moved, "nonsense": '"$sealed:old:%%"'}[damage]
    statement, form, verb = _TAMPERED[field]
    with sqlite3.connect(lab.inner.path) as connection:
        connection.execute(statement, ((form % text).encode(),))

    with pytest.raises(SealedValueError, match=f"{field} of '{job_id}'.* key 'old'") as caught:
        await getattr(store, verb)(job_id)

    assert MARK not in str(caught.value)


async def test_progress_is_opened_where_the_budget_is_changed(lab: SealedLab):
    store = await lab.open()
    store.beat(worker("w1"), first=True)
    lease = await start(store, input=JSON_MARK)
    await store.append_events(lease, (), PROGRESS)

    changed = await store.set_budget(lease.job_id, Budget(tokens=5))

    assert (changed.progress, changed.input) == (PROGRESS, JSON_MARK)
    assert (await finish(store, lease)).output == b"{}"
    assert (await store.list_jobs(JobQuery()))[0].output == b"{}"


async def test_webhook_secret_is_sealed_at_rest_and_opens_for_its_webhook_only(lab: SealedLab):
    """A secret moved to another webhook's row does not open; without the key none does."""
    store = await lab.open()
    records = lab.records_of(store)
    mine, other = webhook(lab), webhook(lab)
    secrets = WebhookSecrets(secret=new_webhook_secret())
    await records.insert_webhook(mine, secrets)
    await records.insert_webhook(other, WebhookSecrets(secret=new_webhook_secret()))
    bare = sqlite3.connect(lab.inner.path)
    stored = bare.execute("SELECT secret FROM webhooks").fetchall()
    assert all(each.startswith(b'"$sealed:old:') for (each,) in stored)

    bare.execute(
        "UPDATE webhooks SET secret = (SELECT secret FROM webhooks WHERE webhook_id = ?)",
        (mine.webhook_id,),
    )
    bare.commit()
    bare.close()

    assert await records.find_webhook_secrets(mine.webhook_id) == secrets
    with pytest.raises(SealedValueError, match="does not open"):
        await records.find_webhook_secrets(other.webhook_id)
    inner = await lab.inner.open()
    with pytest.raises(SealedValueError, match="not among the sealing keys"):
        await inner.service.find_webhook_secrets(mine.webhook_id)
    assert len(await inner.service.list_webhooks()) == 2


async def test_deliveries_of_sealed_jobs_are_listed_without_what_has_no_key(lab: SealedLab):
    store = await lab.open()
    store.beat(worker("w1"), first=True)
    records = lab.records_of(store)
    mine = webhook(lab)
    await records.insert_webhook(mine, WebhookSecrets(secret=new_webhook_secret()))
    await finish(store, await start(store))
    [claim] = await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(DELIVERY_KIND,)))
    await settle(store, claim.lease, JobStatus.FAILED, error=ERROR)

    [opened] = await records.list_deliveries(mine.webhook_id)
    [shut] = await (await lab.inner.open()).service.list_deliveries(mine.webhook_id)

    assert opened.error == ERROR
    assert (shut.error, shut.status) == (None, JobStatus.FAILED)
