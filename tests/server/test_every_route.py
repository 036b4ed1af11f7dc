"""Every route of the description, walked with keys that must not get through."""

import re

import pytest

from holdfast.apps.reports.orders.shop import Shop
from holdfast.server.access import ALL_ACTIONS, Action
from holdfast.webhooks import make_webhook
from tests.server.described import PUBLIC, Operation, operations
from tests.server.shop import order_of

OPERATIONS = [operation for operation in operations() if operation.path not in PUBLIC]
MARK = "xyzzy"
"""Stands in whatever belongs to the foreign tenant."""


@pytest.fixture(params=OPERATIONS, ids=lambda operation: operation.name)
def operation(request) -> Operation:
    found: Operation = request.param
    return found


@pytest.fixture
async def values(running, harness) -> dict[str, str]:
    """What there is of a tenant, for the parameters of paths; a new parameter needs a value here."""
    await harness.start_worker()
    records = running.service.records
    webhook, secrets = make_webhook(f"https://{MARK}.example", at=harness.clock.now(), tenant=MARK)
    await records.insert_webhook(webhook, secrets)
    job_id = await harness.submit("report", {"title": MARK}, tenant=MARK)
    await harness.client.signal(job_id, "approval", MARK)
    await harness.end_of(job_id)
    key = await running.key(tenant=MARK)
    [delivery] = await records.list_deliveries(webhook.webhook_id)
    return {
        "job_id": job_id,
        "name": f"{MARK}.txt",
        "key_id": key.rpartition("_")[0],
        "webhook_id": webhook.webhook_id,
        "delivery_id": delivery.job_id,
        "order_id": await order_of(running.service.resources[Shop], MARK),
        "product": "life_clarity",
    }


async def asked(running, operation: Operation, values: dict[str, str], key: str | None):
    """Return status and text of an answer; of one that succeeds only what comes at once."""
    async with (
        running.http(key) as http,
        http.stream(operation.method, operation.filled(**values), json=operation.example()) as answer,
    ):
        streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
        return answer.status_code, "" if streamed else (await answer.aread()).decode()


async def test_nobody_gets_in_without_a_key(running, values, operation):
    status, text = await asked(running, operation, values, None)

    assert status == 401
    assert MARK not in text


async def test_foreign_tenant_finds_nothing(running, values, operation):
    status, text = await asked(running, operation, values, await running.key(tenant="other"))

    if "{" in operation.path:
        assert (status, text.count("_not_found")) == (404, 2)
    else:
        assert status < 500
    # What is sold is no secret, and stands in the metrics of all that this process has run.
    for belonging in {name: value for name, value in values.items() if name != "product"}.values():
        assert belonging not in text.replace(operation.filled(**values), "") or status == 404
    assert MARK not in text


async def test_key_for_other_kinds_finds_nothing(running, values, operation):
    status, text = await asked(running, operation, values, await running.key(kinds=["greet"]))

    if "{" in operation.path:
        assert status == 404
    assert MARK not in text


async def test_route_asks_for_exactly_one_action(running, values, operation):
    asked_for = {
        action: action_missed(*await asked(running, operation, values, await running.key(action)))
        for action in Action
    }

    [wanted] = {missed for missed in asked_for.values() if missed is not None}
    assert [action for action, missed in asked_for.items() if missed is None] == [wanted]
    others = await running.key(*(ALL_ACTIONS - {wanted}))
    assert action_missed(*await asked(running, operation, values, others)) == wanted


def action_missed(status: int, text: str) -> str | None:
    """Return the action that a key was refused for; None if it was let in."""
    found = re.search(r"does not allow '(\w+)'", text) if status == 403 else None
    return None if found is None else Action(found[1])


async def test_token_of_one_job_opens_no_other(running, values, harness, operation):
    other = await harness.submit("greet", "ada")
    token = running.service.tokens.for_job(other)

    status, text = await asked(running, operation, values, token)

    assert status in {403, 404}
    assert MARK not in text
