"""`holdfast webhooks`: what people type, against a real store."""

import asyncio
import json

import pytest

from holdfast.cli.exits import ExitStatus
from holdfast.model import Checkpoint, JobStatus
from holdfast.store import open_store
from holdfast.store.base import ClaimRequest, Settlement
from holdfast.store.service import DELIVERY_KIND
from holdfast.testing.store_suite.support import submit, worker

URL = "https://shop.example/hooks"


@pytest.fixture
def webhook_id(holdfast) -> str:
    made = json.loads(holdfast("webhooks", "add", URL, "--json").out)
    assert made["secret"].startswith("whsec_")
    return str(made["webhook_id"])


def end_a_job(*, deliver: JobStatus | None = None) -> str:
    """End a job in the store of this folder, perhaps its delivery, too; return the job's id."""

    async def end() -> str:
        store = await open_store("sqlite:///.holdfast/holdfast.db")
        job_id = await submit(store)
        await store.cancel_job(job_id)
        if deliver is not None:
            await asyncio.to_thread(store.beat, worker("w1"), first=True)
            request = ClaimRequest(worker_id="w1", kinds=(DELIVERY_KIND,))
            [claim] = await store.claim_jobs(request)
            await store.put_checkpoint(claim.lease, Checkpoint(key="message", value=b'"{}"'), ())
            output = b'{"outcome":"delivered","status":200}'
            await store.settle_attempt(claim.lease, Settlement(status=deliver, output=output))
        await store.close()
        return job_id

    return asyncio.run(end())


def test_added_webhook_prints_its_secret_alone_and_is_listed_without(holdfast):
    added = holdfast("webhooks", "add", URL, "--tenant", "t", "--kind", "a", "--status", "failed")

    listed = json.loads(holdfast("webhooks", "list", "--json").out)

    assert added.status == ExitStatus.OK
    assert added.out.startswith("whsec_")
    assert len(added.out.split()) == 1
    [found] = listed
    assert found["webhook_id"] in added.err
    assert (found["url"], found["tenant"], found["kinds"]) == (URL, "t", ["a"])
    assert found["statuses"] == ["failed"]
    assert added.out.strip() not in json.dumps(listed)


def test_table_of_webhooks_shows_what_they_hear_of(holdfast, webhook_id):
    shown = holdfast("webhooks", "list").out

    for word in (webhook_id, URL, "all", "completed, failed, cancelled"):
        assert word in shown
    assert webhook_id not in holdfast("webhooks", "list", "--tenant", "other").out


def test_url_into_a_private_network_is_refused_until_it_is_allowed(holdfast, monkeypatch):
    refused = holdfast("webhooks", "add", "http://10.0.0.1")
    monkeypatch.setenv("HOLDFAST_WEBHOOK_NETWORKS", "10.0.0.0/8")

    allowed = holdfast("webhooks", "add", "http://10.0.0.1")

    assert (refused.status, allowed.status) == (ExitStatus.USAGE, ExitStatus.OK)
    assert "HOLDFAST_WEBHOOK_NETWORKS" in refused.err


def test_networks_that_are_none_are_named(holdfast, monkeypatch):
    monkeypatch.setenv("HOLDFAST_WEBHOOK_NETWORKS", "10.0.0.1/8")

    ended = holdfast("webhooks", "add", URL)

    assert ended.status == ExitStatus.CONFIGURATION
    assert "10.0.0.1/8" in ended.err


def test_removed_webhook_is_gone(holdfast, webhook_id):
    assert holdfast("webhooks", "remove", webhook_id).status == ExitStatus.OK

    again = holdfast("webhooks", "remove", webhook_id)

    assert again.status == ExitStatus.NOT_FOUND
    assert "No webhooks" in holdfast("webhooks", "list").out


def test_rotated_secret_is_printed(holdfast, webhook_id):
    first = holdfast("webhooks", "rotate", webhook_id).out
    second = holdfast("webhooks", "rotate", webhook_id).out

    assert first.startswith("whsec_")
    assert first != second
    assert holdfast("webhooks", "rotate", "wh_unknown").status == ExitStatus.NOT_FOUND


def test_deliveries_are_listed_and_a_completed_one_is_replayed_by_a_copy(holdfast, webhook_id):
    job_id = end_a_job(deliver=JobStatus.COMPLETED)
    [told] = json.loads(holdfast("webhooks", "deliveries", webhook_id, "--json").out)

    replayed = holdfast("webhooks", "replay", told["delivery_id"])

    assert (told["job_id"], told["type"], told["outcome"]) == (job_id, "job.cancelled", "delivered")
    assert replayed.status == ExitStatus.OK
    assert replayed.out.strip() != told["delivery_id"]
    shown = holdfast("webhooks", "deliveries", webhook_id).out
    for word in (told["delivery_id"], replayed.out.strip(), "delivered", "queued", "next try"):
        assert word in shown


def test_failed_delivery_is_tried_again_and_one_that_is_tried_is_not(holdfast, webhook_id):
    end_a_job(deliver=JobStatus.FAILED)
    [told] = json.loads(holdfast("webhooks", "deliveries", webhook_id, "--json").out)

    replayed = holdfast("webhooks", "replay", told["delivery_id"])

    assert replayed.out.strip() == told["delivery_id"]
    again = holdfast("webhooks", "replay", told["delivery_id"])
    assert again.status == ExitStatus.CONFLICT


def test_deliveries_of_a_deleted_webhook_are_still_shown(holdfast, webhook_id):
    end_a_job()
    holdfast("webhooks", "remove", webhook_id)

    shown = holdfast("webhooks", "deliveries", webhook_id)

    assert "told nothing any more" in shown.err
    assert "job.cancelled" in shown.out
    assert "Nothing was told" in holdfast("webhooks", "deliveries", "wh_unknown").out


def test_deliveries_are_not_among_the_jobs(holdfast, webhook_id):
    job_id = end_a_job()

    listed = json.loads(holdfast("jobs", "list", "--json").out)
    own = json.loads(holdfast("jobs", "list", "--kind", DELIVERY_KIND, "--json").out)

    assert [job["job_id"] for job in listed] == [job_id]
    assert len(own) == 1


def test_secret_is_sealed_where_there_are_keys(holdfast, monkeypatch):
    key = holdfast("sealing", "new-key").out.strip()
    monkeypatch.setenv("HOLDFAST_SEALING_KEYS", key)
    made = json.loads(holdfast("webhooks", "add", URL, "--json").out)
    assert holdfast("webhooks", "rotate", made["webhook_id"]).status == ExitStatus.OK

    monkeypatch.delenv("HOLDFAST_SEALING_KEYS")

    assert holdfast("webhooks", "list").status == ExitStatus.OK
    assert holdfast("webhooks", "rotate", made["webhook_id"]).status == ExitStatus.UNAVAILABLE
