"""Webhooks over HTTP: made, looked at, changed, replayed; and nobody sees another's."""

from ipaddress import ip_network

import pytest

from holdfast.model import Checkpoint, JobStatus
from holdfast.server.access import Action
from holdfast.store.base import ClaimRequest, Settlement
from holdfast.store.service import DELIVERY_KIND
from holdfast.testing.service import running_service
from holdfast.testing.store_suite.support import worker
from holdfast.webhooks import register_deliveries

URL = "https://shop.example/hooks"
PATH = "/api/v1/webhooks"


@pytest.fixture
async def http(running):
    async with running.http(await running.key(Action.WEBHOOKS)) as http:
        yield http


async def make(http, **body):
    answer = await http.post(PATH, json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def code_of(http, method: str, path: str, **options) -> tuple[int, str]:
    answer = await http.request(method, path, **options)
    return answer.status_code, answer.json()["code"]


async def test_new_webhook_is_shown_with_its_secret_only_once(http):
    answer = await http.post(
        PATH, json={"url": URL, "kinds": ["greet"], "statuses": ["failed", "completed"]}
    )

    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{PATH}/{made['webhook_id']}"
    assert made["secret"].startswith("whsec_")
    shown = (await http.get(answer.headers["location"])).json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert (shown["kinds"], shown["statuses"]) == (["greet"], ["completed", "failed"])


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://shop.example"},
        {"url": "https://10.0.0.1"},
        {"url": "nonsense"},
        {"url": URL, "statuses": ["running"]},
        {"url": URL, "statuses": []},
        {"url": URL, "kinds": ["holdfast.webhook"]},
        {"url": URL, "kinds": []},
        {"url": URL, "kinds": ["a\0b"]},
        {"url": URL, "tenant": "a\0b"},
        {},
    ],
)
async def test_webhook_that_could_never_be_told_is_refused(http, body):
    assert await code_of(http, "POST", PATH, json=body) == (422, "invalid_input")


async def test_allowed_networks_are_the_operators_to_name(harness):
    async with (
        running_service(harness, webhook_networks=(ip_network("10.0.0.0/8"),)) as running,
        running.http(await running.key()) as http,
    ):
        await make(http, url="http://10.0.0.1/hooks")


async def test_webhooks_are_listed_by_page(http):
    ids = [(await make(http))["webhook_id"] for _ in range(5)]

    first = (await http.get(PATH, params={"limit": 3})).json()
    second = (await http.get(PATH, params={"limit": 3, "cursor": first["next_cursor"]})).json()

    listed = [each["webhook_id"] for each in first["webhooks"] + second["webhooks"]]
    assert sorted(listed) == sorted(ids)
    assert second["next_cursor"] is None


async def test_deleted_webhook_is_gone(http):
    path = f"{PATH}/{(await make(http))['webhook_id']}"

    assert (await http.delete(path)).status_code == 204

    for method in ("GET", "DELETE"):
        assert await code_of(http, method, path) == (404, "webhook_not_found")


async def test_secret_is_changed_and_the_old_one_signs_for_a_day(http, running, harness):
    made = await make(http)

    answer = await http.post(f"{PATH}/{made['webhook_id']}/secret")

    kept = await running.service.records.find_webhook_secrets(made["webhook_id"])
    assert answer.status_code == 201
    assert kept is not None
    assert (kept.secret, kept.old) == (answer.json()["secret"], made["secret"])
    assert answer.json()["secret"] != made["secret"]


async def test_key_without_the_action_sees_no_webhooks(running):
    everything_else = [action for action in Action if action is not Action.WEBHOOKS]
    async with running.http(await running.key(*everything_else)) as http:
        for method, path in ROUTES:
            path = path.format(webhook="wh_1", delivery="job_1")
            assert await code_of(http, method, path, json={"url": URL}) == (403, "access_denied")
    async with running.http() as http:
        assert await code_of(http, "GET", PATH) == (401, "not_authenticated")


ROUTES = [
    ("GET", PATH),
    ("POST", PATH),
    ("GET", PATH + "/{webhook}"),
    ("DELETE", PATH + "/{webhook}"),
    ("POST", PATH + "/{webhook}/secret"),
    ("GET", PATH + "/{webhook}/deliveries"),
    ("POST", PATH + "/{webhook}/deliveries/{delivery}/replay"),
]


def test_routes_are_all_of_this_resource(running):
    """So that a new one cannot be forgotten by the tests that walk them."""
    known = {
        (method.upper(), path)
        for path, methods in running.api.openapi()["paths"].items()
        # Beside them lies the one that payments are told of by.
        if path.startswith(PATH) and not path.endswith("/stripe")
        for method in methods
    }

    expected = {
        (method, path.format(webhook="{webhook_id}", delivery="{delivery_id}"))
        for method, path in ROUTES
    }
    assert known == expected


# --- tenants -----------------------------------------------------------------------------------


async def test_key_of_a_tenant_makes_and_sees_its_own_only(running, http):
    await make(http)
    await make(http, tenant="other")
    async with running.http(await running.key(tenant="shop")) as shop:
        mine = await make(shop)
        named = await make(shop, tenant="shop")

        listed = (await shop.get(PATH)).json()["webhooks"]

        assert {each["webhook_id"] for each in listed} == {mine["webhook_id"], named["webhook_id"]}
        assert {each["tenant"] for each in listed} == {"shop"}
        refused = await code_of(shop, "POST", PATH, json={"url": URL, "tenant": "other"})
        assert refused == (403, "access_denied")


async def test_foreign_webhook_does_not_exist_on_any_route(running, http, harness):
    foreign = await make(http, tenant="other")
    delivery_id = await ended_delivery(harness, JobStatus.COMPLETED)
    async with running.http(await running.key(tenant="shop")) as shop:
        await make(shop)
        for method, path in ROUTES[2:]:
            path = path.format(webhook=foreign["webhook_id"], delivery=delivery_id)
            assert await code_of(shop, method, path) == (404, "webhook_not_found"), path
    assert (await http.get(f"{PATH}/{foreign['webhook_id']}")).status_code == 200


async def test_delivery_is_replayed_by_its_own_webhook_only(running, http, harness):
    await make(http, tenant="other")
    delivery_id = await ended_delivery(harness, JobStatus.COMPLETED)
    async with running.http(await running.key(tenant="shop")) as shop:
        mine = await make(shop)
        path = f"{PATH}/{mine['webhook_id']}/deliveries/{delivery_id}/replay"
        assert await code_of(shop, "POST", path) == (404, "job_not_found")


async def test_key_of_some_kinds_hears_of_these_only(running, http):
    everything = await make(http)
    async with running.http(await running.key(kinds=("greet", "count"))) as limited:
        all_it_may = await make(limited)
        one = await make(limited, kinds=["greet"])

        assert all_it_may["kinds"] == ["count", "greet"]
        assert one["kinds"] == ["greet"]
        refused = await code_of(limited, "POST", PATH, json={"url": URL, "kinds": ["secret"]})
        assert refused == (403, "access_denied")
        path = f"{PATH}/{everything['webhook_id']}"
        assert await code_of(limited, "GET", path) == (404, "webhook_not_found")


# --- deliveries --------------------------------------------------------------------------------


async def ended_delivery(harness, status: JobStatus, output: bytes = b'{"outcome":"delivered"}') -> str:
    """End a job of the tenant `other`, and the delivery that tells so; return the delivery's id."""
    store = harness.real_store
    await harness.client.cancel(await harness.submit("greet", "ada", tenant="other"))
    store.beat(worker("w1"), first=True)
    [claim] = await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(DELIVERY_KIND,)))
    await store.settle_attempt(claim.lease, Settlement(status=status, output=output))
    return str(claim.job.job_id)


async def test_deliveries_are_shown_with_how_they_went(http, harness):
    made = await make(http)
    delivery_id = await ended_delivery(
        harness, JobStatus.COMPLETED, b'{"outcome":"delivered","status":204}'
    )
    job_id = await harness.submit("greet", "bob")
    await harness.client.cancel(job_id)
    path = f"{PATH}/{made['webhook_id']}/deliveries"

    waiting, ended = (await http.get(path)).json()["deliveries"]

    assert ended["delivery_id"] == delivery_id
    assert (ended["type"], ended["event_seq"]) == ("job.cancelled", 3)
    assert (ended["status"], ended["outcome"], ended["response_status"]) == (
        "completed",
        "delivered",
        204,
    )
    assert ended["next_try_at"] is None
    assert (waiting["job_id"], waiting["status"], waiting["outcome"]) == (job_id, "queued", None)
    assert waiting["next_try_at"] is not None
    first = (await http.get(path, params={"limit": 1})).json()
    rest = (await http.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["delivery_id"] for each in rest["deliveries"]] == [delivery_id]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
async def test_delivery_is_replayed(http, harness, status):
    register_deliveries(harness.registry)
    made = await make(http)
    delivery_id = await ended_with_message(harness, status)
    path = f"{PATH}/{made['webhook_id']}/deliveries/{delivery_id}/replay"

    answer = await http.post(path)

    assert answer.status_code == 202
    again = answer.json()
    assert again["status"] == "queued"
    assert (again["delivery_id"] == delivery_id) is (status is JobStatus.FAILED)
    if status is JobStatus.FAILED:
        assert await code_of(http, "POST", path) == (409, "job_not_finished")


async def ended_with_message(harness, status: JobStatus) -> str:
    """End a delivery that has got as far as its message."""
    store = harness.real_store
    await harness.client.cancel(await harness.submit("greet", "ada"))
    store.beat(worker("w1"), first=True)
    [claim] = await store.claim_jobs(ClaimRequest(worker_id="w1", kinds=(DELIVERY_KIND,)))
    await store.put_checkpoint(claim.lease, Checkpoint(key="message", value=b'"{}"'), ())
    await store.settle_attempt(claim.lease, Settlement(status=status, output=b"{}"))
    return str(claim.job.job_id)


async def test_deliveries_are_no_jobs_to_those_who_list_jobs(running, http, harness):
    """Nor does a key of a tenant reach what tells others of its jobs."""
    await make(http)
    await harness.client.cancel(await harness.submit("greet", "ada", tenant="shop"))
    [delivery] = await running.service.records.list_deliveries(
        (await http.get(PATH)).json()["webhooks"][0]["webhook_id"]
    )

    async with running.http(await running.key(tenant="shop")) as shop:
        assert (await shop.get(f"/api/v1/jobs/{delivery.job_id}")).status_code == 404


@pytest.mark.parametrize("tenant", [None, "other"])
async def test_key_without_the_action_reaches_no_delivery_as_a_job(running, http, harness, tenant):
    await make(http, tenant="other")
    delivery_id = await ended_delivery(harness, JobStatus.FAILED)
    everything_else = [action for action in Action if action is not Action.WEBHOOKS]
    jobs, told = "/api/v1/jobs", {"kind": DELIVERY_KIND}
    job = f"{jobs}/{delivery_id}"

    async with running.http(await running.key(*everything_else, tenant=tenant)) as other:
        for method, path in (
            ("GET", job),
            ("GET", f"{job}/events"),
            ("GET", f"{job}/stream"),
            ("POST", f"{job}/tokens"),
            ("POST", f"{job}/cancel"),
            ("POST", f"{job}/retry"),
            ("POST", f"{job}/fork"),
        ):
            assert await code_of(other, method, path) == (404, "job_not_found"), path
        assert (await other.get(jobs, params=told)).json() == {"jobs": [], "next_cursor": None}

    async with running.http(await running.key(tenant=tenant)) as owner:
        listed = (await owner.get(jobs, params=told)).json()["jobs"]
        assert [each["job_id"] for each in listed] == [delivery_id]
        assert (await owner.post(f"{job}/retry")).status_code == 202


async def test_token_of_a_delivery_opens_nothing(running, http, harness):
    await make(http, tenant="other")
    delivery_id = await ended_delivery(harness, JobStatus.COMPLETED)

    async with running.http(running.service.tokens.for_job(delivery_id)) as holder:
        assert (await holder.get(f"/api/v1/jobs/{delivery_id}")).status_code == 404


async def test_what_no_database_can_hold_is_refused_at_the_door(http):
    """PostgreSQL keeps no NUL, and would say so as if it were away."""
    made = await make(http)
    told = {"params": {"cursor": "a\0b"}}

    assert await code_of(http, "GET", PATH, **told) == (422, "invalid_input")
    path = f"{PATH}/{made['webhook_id']}/deliveries"
    assert await code_of(http, "GET", path, **told) == (422, "invalid_input")
    assert await code_of(http, "POST", f"{path}/a%00b/replay") == (404, "job_not_found")
    for method, route in ROUTES[2:]:
        path = route.format(webhook="wh_%00", delivery="job_1")
        assert await code_of(http, method, path) == (404, "webhook_not_found"), path
