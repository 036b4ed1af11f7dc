"""GET of jobs and what is on record of them."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast import JobContext
from holdfast.model import JobStatus
from holdfast.server.access import Action
from holdfast.testing.clock import ManualClock
from holdfast.testing.harness import Harness
from holdfast.testing.service import running_service
from tests.server.conftest import greet

JOBS = "/api/v1/jobs"


async def ponder(job: JobContext, word: str) -> None:
    job.report_progress(1, 2, f"pondering {word}")
    await job.wait_for("go")


async def fail(job: JobContext, word: str) -> str:
    raise ValueError(f"no such word: {word}")


# --- one job -------------------------------------------------------------------------------------


async def test_finished_job_is_shown_with_its_output(http, harness):
    await harness.start_worker()
    job_id = await harness.submit("greet", "ada")
    await harness.end_of(job_id)

    answer = await http.get(f"{JOBS}/{job_id}")

    shown = answer.json()
    assert (shown["status"], shown["input"], shown["output"]) == ("completed", "ada", "ADA")
    assert "retry-after" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"


async def test_content_is_shown_only_to_who_may_see_it(running, harness):
    harness.job("fail", fail)
    await harness.start_worker()
    done = await harness.submit("greet", "ada")
    failed = await harness.submit("fail", "xyzzy")
    await harness.end_of(done)
    await harness.end_of(failed)

    async with running.http(await running.key(Action.READ)) as http:
        shown = (await http.get(f"{JOBS}/{done}")).json()
        error = (await http.get(f"{JOBS}/{failed}")).json()["error"]

    assert (shown["status"], shown["input"], shown["output"]) == ("completed", None, None)
    assert (error["type"], error["message"]) == ("ValueError", "no such word: xyzzy")


async def test_label_of_progress_is_content(running, harness):
    """It is made by the job and may quote what it holds, so a key that may only read gets none."""
    harness.job("ponder", ponder)
    await harness.start_worker()
    job_id = await harness.submit("ponder", "xyzzy")
    await harness.until(job_id, JobStatus.SUSPENDED)
    seen = {}

    for actions in ([Action.READ], [Action.READ, Action.CONTENT]):
        async with running.http(await running.key(*actions)) as http:
            [listed] = (await http.get(JOBS)).json()["jobs"]
            shown = (await http.get(f"{JOBS}/{job_id}")).json()
            seen[len(actions)] = [(each["progress"]["label"], each["progress"]["fraction"])
                                  for each in (listed, shown)]  # fmt: skip

    assert seen == {1: [("", 0.5)] * 2, 2: [("pondering xyzzy", 0.5)] * 2}


async def test_job_that_is_as_known_is_not_sent_again(http, harness):
    job_id = await harness.submit("greet", "ada")
    first = await http.get(f"{JOBS}/{job_id}")
    etag = first.headers["etag"]

    same = await http.get(f"{JOBS}/{job_id}", headers={"If-None-Match": f'"other", {etag}'})
    await harness.client.cancel(job_id)
    changed = await http.get(f"{JOBS}/{job_id}", headers={"If-None-Match": etag})

    assert etag.startswith('W/"')
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert "retry-after" in same.headers
    assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")


async def test_etag_differs_by_what_one_may_see(running, harness):
    job_id = await harness.submit("greet", "ada")
    etags = set()
    for actions in ((Action.READ,), (Action.READ, Action.CONTENT)):
        async with running.http(await running.key(*actions)) as http:
            etags.add((await http.get(f"{JOBS}/{job_id}")).headers["etag"])

    assert len(etags) == 2


async def test_polls_are_asked_to_slow_down_as_a_job_ages(tmp_path):
    clock = ManualClock()
    async with Harness(tmp_path, clock=clock) as harness:
        harness.job("greet", greet)
        async with running_service(harness) as running, running.http(await running.key()) as http:
            job_id = await harness.submit("greet", "ada")
            waits = []
            for seconds in (29, 2, 268, 2):
                clock.advance(seconds)
                waits.append((await http.get(f"{JOBS}/{job_id}")).headers["retry-after"])

    assert waits == ["2", "5", "5", "15"]


@pytest.mark.parametrize(
    "job_id", ["job_0", "x", "job_" + "0" * 26, "job_%00", "%C3%A9", "job_" + "U" * 26]
)
async def test_job_that_is_not_there_is_not_found(http, job_id):
    answer = await http.get(f"{JOBS}/{job_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def test_output_that_is_nested_deep_is_shown_as_it_is(http, harness):
    async def deep(job: JobContext, depth: int):
        value: object = depth
        for _ in range(depth):
            value = [value]
        return value

    harness.job("deep", deep)
    await harness.start_worker()
    job_id = await harness.submit("deep", 900)
    await harness.end_of(job_id)

    answer = await http.get(f"{JOBS}/{job_id}")

    assert answer.status_code == 200
    assert f'"output":{"[" * 900}900{"]" * 900}' in answer.text


# --- lists ---------------------------------------------------------------------------------------


async def ids(http, query: str = "") -> list[str]:
    return [job["job_id"] for job in (await http.get(f"{JOBS}?{query}")).json()["jobs"]]


async def test_list_goes_page_by_page_from_the_newest_on(http, harness):
    submitted = [await harness.submit("greet", f"name {number}") for number in range(5)]
    seen, cursor = list[list[str]](), ""

    while cursor != "&cursor=None":
        page = (await http.get(f"{JOBS}?limit=2{cursor}")).json()
        seen.append([job["job_id"] for job in page["jobs"]])
        cursor = f"&cursor={page['next_cursor']}"

    newest_first = sorted(submitted, reverse=True)
    assert seen == [newest_first[:2], newest_first[2:4], newest_first[4:]]


async def test_filters_pick_what_fits_all_of_them(http, harness):
    one = await harness.submit("greet", "ada", tenant="shop", subject="u_1")
    two = await harness.submit("report", {"title": "tides"}, tenant="shop")
    three = await harness.submit("greet", "grace")
    await harness.client.cancel(three)

    assert set(await ids(http)) == {one, two, three}
    assert await ids(http, "kind=report") == [two]
    assert await ids(http, "status=cancelled") == [three]
    assert set(await ids(http, "tenant=shop")) == {one, two}
    assert await ids(http, "tenant=shop&kind=greet") == [one]
    assert await ids(http, "subject=u_1") == [one]
    assert await ids(http, f"parent_id={one}") == []


async def test_times_bound_a_list(tmp_path):
    async with Harness(tmp_path, clock=ManualClock(datetime.now(UTC) + timedelta(days=1))) as harness:
        harness.job("greet", greet)
        job_id = await harness.submit("greet", "ada")
        async with running_service(harness) as running, running.http(await running.key()) as http:
            assert await ids(http, "created_since=2026-01-01T00:00:00Z") == [job_id]
            assert await ids(http, "created_before=2026-01-01T00:00:00Z") == []
            assert await ids(http, "created_since=0001-01-01T00:00:00Z") == [job_id]
            assert await ids(http, "created_before=9999-12-31T23:59:59Z") == [job_id]


async def test_lists_hold_no_content(http, harness):
    await harness.start_worker()
    job_id = await harness.submit("greet", "xyzzy")
    await harness.end_of(job_id)

    answer = await http.get(JOBS)

    assert "xyzzy" not in answer.text.lower()
    assert [job["status"] for job in answer.json()["jobs"]] == ["completed"]


async def test_list_stays_within_the_reach_of_the_key(running, harness):
    mine = await harness.submit("greet", "ada", tenant="mine")
    report = await harness.submit("report", {"title": "tides"}, tenant="mine")
    other = await harness.submit("greet", "ada", tenant="other")

    async with running.http(await running.key(tenant="mine")) as http:
        assert set(await ids(http)) == {mine, report}
        assert await ids(http, "tenant=other") == []
    async with running.http(await running.key(kinds=["greet"])) as http:
        assert set(await ids(http)) == {mine, other}
        assert await ids(http, "kind=report") == []
        assert len((await http.get(f"{JOBS}?limit=2")).json()["jobs"]) == 2


async def test_holder_of_a_jobs_token_cannot_list(running, harness):
    job_id = await harness.submit("greet", "ada")

    async with running.http(running.service.tokens.for_job(job_id)) as http:
        answers = [await http.get(JOBS), await http.get("/api/v1/kinds")]

    assert [answer.status_code for answer in answers] == [403, 403]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=501", "limit=x", "status=lost", "cursor=x", "cursor=job_%00", "kind=%00"),
        *("created_since=yesterday", "created_since=2026-01-01T00:00:00", "parent_id=%00", "tenant="),
    ],
)
async def test_filter_that_does_not_fit_is_refused(http, query):
    answer = await http.get(f"{JOBS}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert query.partition("=")[0] in answer.json()["detail"]


# --- records -------------------------------------------------------------------------------------


async def test_steps_are_listed_without_their_results(http, harness):
    await harness.start_worker()
    job_id = await harness.submit("greet", "xyzzy")
    await harness.end_of(job_id)

    answer = await http.get(f"{JOBS}/{job_id}/steps")

    [step] = answer.json()["steps"]
    assert (step["key"], step["finished"], step["attempts"], step["artifact"]) == (
        "greet",
        True,
        1,
        None,
    )
    assert "XYZZY" not in answer.text


async def test_step_that_saved_a_file_names_it(http, harness):
    await harness.start_worker()
    job_id = await harness.submit("report", {"title": "tides"})
    await harness.until(job_id, JobStatus.SUSPENDED)

    steps = (await http.get(f"{JOBS}/{job_id}/steps")).json()["steps"]

    assert "tides.txt" in [step["artifact"]["name"] for step in steps if step["artifact"]]
