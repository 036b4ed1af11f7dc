"""Keys over HTTP."""

import pytest

from holdfast.server.access import Action

KEYS = "/api/v1/keys"


async def test_made_key_works_until_it_is_revoked(http, running, harness):
    job_id = await harness.submit("greet", "ada")

    made = await http.post(KEYS, json={"name": "shop", "actions": ["read"], "lifetime_days": 30})
    shown = made.json()

    assert made.status_code == 201
    assert (shown["name"], shown["actions"], shown["tenant"], shown["kinds"]) == (
        *("shop", ["read"], None, None),
    )
    assert shown["expires_at"] is not None
    async with running.http(shown["key"]) as holder:
        assert (await holder.get(f"/api/v1/jobs/{job_id}")).status_code == 200
        assert (await http.delete(f"{KEYS}/{shown['key_id']}")).status_code == 204
        assert (await holder.get(f"/api/v1/jobs/{job_id}")).status_code == 401
    assert (await http.delete(f"{KEYS}/{shown['key_id']}")).json()["code"] == "key_not_found"


async def test_list_shows_keys_but_not_what_opens(http):
    made = (await http.post(KEYS, json={"name": "shop", "actions": ["read"]})).json()

    answer = await http.get(KEYS)

    assert made["key_id"] in [key["key_id"] for key in answer.json()["keys"]]
    assert made["key"] not in answer.text
    assert all("digest" not in key and "key" not in key for key in answer.json()["keys"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "", "actions": ["read"]},
        {"name": "  ", "actions": ["read"]},
        {"name": "x", "actions": []},
        {"name": "x", "actions": ["fly"]},
        {"name": "x", "actions": ["read"], "lifetime_days": 0},
        {"name": "x", "actions": ["read"], "lifetime_days": 10**9},
        {"name": "x", "actions": ["read"], "kinds": []},
        {"name": "x\x00", "actions": ["read"]},
    ],
)
async def test_key_that_makes_no_sense_is_refused(http, body):
    answer = await http.post(KEYS, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


@pytest.mark.parametrize("asked", [{}, {"tenant": "other"}, {"tenant": "mine", "kinds": ["report"]}])
async def test_nobody_hands_on_more_than_they_have(running, asked):
    async with running.http(await running.key(tenant="mine", kinds=["greet"])) as http:
        more = await http.post(KEYS, json={"name": "more", "actions": ["read"], **asked})
        same = await http.post(
            KEYS, json={"name": "same", "actions": ["read"], "tenant": "mine", "kinds": ["greet"]}
        )

    assert (more.status_code, more.json()["code"]) == (403, "access_denied")
    assert same.status_code == 201


async def test_key_hands_on_only_its_own_actions(running):
    async with running.http(await running.key(Action.ADMIN, Action.READ)) as http:
        more = await http.post(KEYS, json={"name": "x", "actions": ["content"]})
        same = await http.post(KEYS, json={"name": "x", "actions": ["read"]})

    assert (more.status_code, same.status_code) == (403, 201)


async def test_keys_beyond_reach_do_not_exist(running):
    foreign = await running.key(tenant="other")
    foreign_id = foreign.rpartition("_")[0]

    async with running.http(await running.key(tenant="mine")) as http:
        listed = (await http.get(KEYS)).json()["keys"]
        revoked = await http.delete(f"{KEYS}/{foreign_id}")

    assert [key["tenant"] for key in listed] == ["mine"]
    assert (revoked.status_code, revoked.json()["code"]) == (404, "key_not_found")
    assert (await running.service.records.find_key(foreign_id)).revoked_at is None


@pytest.mark.parametrize("key_id", ["x", "%00", "hf_0000000000", "a" * 5_000])
async def test_key_that_is_not_there_is_not_found(http, key_id):
    answer = await http.delete(f"{KEYS}/{key_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "key_not_found")
    assert len(answer.content) < 1_000
