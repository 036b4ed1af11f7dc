"""What must never stand in a log: keys, inputs, outputs, what jobs hold."""

import logging

import pytest

from holdfast import JobContext
from holdfast.server.problems import problem_of

MARK = "xyzzy-7f3a"
JOBS = "/api/v1/jobs"


async def echo(job: JobContext, text: str) -> str:
    await job.save_artifact(f"{text}.txt", text.encode())
    return await job.step("echo", str.upper, text)


def everything(caplog) -> str:
    """Return all that any handler could write of the records; those of the test's client are its own."""
    return "\n".join(
        f"{record.getMessage()} {record.__dict__} {record.exc_text or ''}"
        for record in caplog.records
        if not record.name.startswith("http")
    ).lower()


async def test_nothing_that_was_sent_is_logged(running, harness, caplog):
    caplog.set_level(logging.DEBUG)
    harness.job("echo", echo)
    await harness.start_worker()
    key = await running.key()

    async with running.http(key) as http:
        made = await http.post(
            JOBS,
            json={"kind": "echo", "input": MARK, "subject": MARK},
            headers={"Idempotency-Key": MARK},
        )
        job_id = made.json()["job_id"]
        await harness.end_of(job_id)
        token = (await http.post(f"{JOBS}/{job_id}/tokens")).json()["token"]
        for path in ("", "/steps", "/usage", "/artifacts", f"/artifacts/{MARK}.txt", f"?token={token}"):
            assert (await http.get(f"{JOBS}/{job_id}{path}")).status_code == 200
        for body in ({"kind": "echo", "input": [MARK]}, {"kind": MARK}, {"kind": "echo", MARK: 1}):
            assert (await http.post(JOBS, json=body)).status_code == 422
        await http.post(f"{JOBS}/{job_id}/signals", json={"name": MARK, "payload": MARK})
        await http.post(
            JOBS, content=f'{{"{MARK}'.encode(), headers={"Content-Type": "application/json"}
        )

    logged = everything(caplog)
    secret = key.rpartition("_")[2].lower()
    assert MARK not in logged
    assert secret not in logged
    assert token.lower() not in logged


async def test_value_that_does_not_fit_is_not_quoted_back(http):
    """A problem may end up in a log of the caller's."""
    answer = await http.post(JOBS, json={"kind": "report", "input": {"title": {"x": MARK}}})

    assert "title" in answer.json()["detail"]
    assert MARK not in answer.text


@pytest.mark.parametrize("error", [ValueError(MARK), KeyError(MARK), RuntimeError(f"about {MARK}")])
def test_error_that_nobody_expected_is_logged_without_what_it_says(error, caplog):
    try:
        raise error
    except Exception as raised:  # noqa: BLE001 - as the last stop of a route does
        answer = problem_of(raised)

    [record] = caplog.records
    assert answer.status_code == 500
    assert MARK not in bytes(answer.body).decode() + everything(caplog).replace(repr(__file__), "")
    assert (record.error, "test_silence.py" in record.frames) == (type(error).__name__, True)
