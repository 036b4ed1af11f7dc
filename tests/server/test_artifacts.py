"""Files over HTTP: whole, in parts, and safe to open."""

import hashlib

import pytest

from holdfast import JobContext
from holdfast.server.access import Action
from holdfast.server.conditional import UnsatisfiableRangeError, matches, range_of

CONTENT = bytes(range(256)) * 12_000  # several parts of a range, and a short last one


async def save(job: JobContext, files: dict[str, str | None]) -> None:
    for name, media_type in files.items():
        await job.save_artifact(name, CONTENT, media_type=media_type)


@pytest.fixture
async def path_of(harness):
    """Have a job save a file, and return the path that it has over HTTP."""
    harness.job("save", save)
    await harness.start_worker()

    async def saved(name: str = "report.bin", media_type: str | None = None) -> str:
        job_id = await harness.submit("save", {name: media_type})
        await harness.end_of(job_id)
        return f"/api/v1/jobs/{job_id}/artifacts/{name}"

    return saved


async def test_files_are_listed(http, harness, path_of):
    path = await path_of("a/b.pdf")

    answer = await http.get(path.removesuffix("/a/b.pdf"))

    digest = hashlib.sha256(CONTENT).hexdigest()
    assert answer.json()["artifacts"] == [
        {
            "name": "a/b.pdf",
            "size_bytes": len(CONTENT),
            "media_type": "application/pdf",
            "sha256": digest,
        }
    ]


async def test_whole_file_comes_as_it_was_saved(http, path_of):
    answer = await http.get(await path_of())

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "private, no-cache"


async def test_empty_file_has_no_parts(http, harness):
    async def empty(job: JobContext) -> None:
        await job.save_artifact("nothing.txt", b"")

    harness.job("empty", empty)
    await harness.start_worker()
    job_id = await harness.submit("empty")
    await harness.end_of(job_id)
    path = f"/api/v1/jobs/{job_id}/artifacts/nothing.txt"

    whole = await http.get(path)
    part = await http.get(path, headers={"Range": "bytes=0-"})

    assert (whole.status_code, whole.content) == (200, b"")
    assert (part.status_code, part.headers["content-range"]) == (416, "bytes */0")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-1999999", 100, 2_000_000),
        ("bytes=3000000-", 3_000_000, len(CONTENT)),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT)),
        ("bytes=0-99999999999", 0, len(CONTENT)),
    ],
)
async def test_part_of_a_file_is_sent(http, path_of, asked, start, end):
    answer = await http.get(await path_of(), headers={"Range": asked})

    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert answer.headers["content-length"] == str(end - start)


async def test_part_that_is_not_there_is_refused(http, path_of):
    answer = await http.get(await path_of(), headers={"Range": f"bytes={len(CONTENT)}-"})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_part_of_another_version_is_the_whole(http, path_of):
    path = await path_of()

    stale = await http.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    etag = stale.headers["etag"]
    same = await http.get(path, headers={"Range": "bytes=0-9", "If-Range": etag})

    assert (stale.status_code, same.status_code) == (200, 206)


async def test_file_that_is_known_is_not_sent_again(http, path_of):
    path = await path_of()
    etag = (await http.get(path)).headers["etag"]

    answer = await http.get(path, headers={"If-None-Match": etag, "Range": "bytes=0-1"})

    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize(
    ("name", "media_type", "kind", "sent_as"),
    [
        ("a.pdf", None, "inline", "application/pdf"),
        ("a.png", None, "inline", "image/png"),
        ("a.txt", None, "inline", "text/plain; charset=utf-8"),
        ("a.html", None, "attachment", "application/octet-stream"),
        ("a.svg", None, "attachment", "application/octet-stream"),
        ("a.js", None, "attachment", "application/octet-stream"),
        ("a.xml", None, "attachment", "application/octet-stream"),
        ("a.csv", None, "attachment", "text/csv; charset=utf-8"),
        ("a.json", None, "attachment", "application/json"),
        ("a", "TEXT/HTML; charset=utf-8", "attachment", "application/octet-stream"),
        ("a", "text/html\r\nX-Bad: 1", "attachment", "application/octet-stream"),
        ("a", "text/plain; x=<script>", "inline", "text/plain; charset=utf-8"),
        ("a", "nonsense", "attachment", "application/octet-stream"),
        ("a", "é/é", "attachment", "application/octet-stream"),
    ],
)
async def test_browser_shows_only_what_cannot_run(http, path_of, name, media_type, kind, sent_as):
    answer = await http.get(await path_of(name, media_type))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == sent_as
    assert answer.headers["content-disposition"].partition(";")[0] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "x-bad" not in answer.headers


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("été.txt", "inline; filename=\"_t_.txt\"; filename*=UTF-8''%C3%A9t%C3%A9.txt"),
        ("a/b/c.txt", "inline; filename=\"c.txt\"; filename*=UTF-8''c.txt"),
        ('a"b\\c.txt', "inline; filename=\"a_b_c.txt\"; filename*=UTF-8''a_b_c.txt"),
        ("a\r\nSet-Cookie: x=1", 'attachment; filename="a__Set-Cookie: x=1"; '),
        ("50%.txt", "inline; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ("exe\u202etxt.pdf", "inline; filename=\"exe_txt.pdf\"; filename*=UTF-8''exe_txt.pdf"),
    ],
)
async def test_any_name_is_told_safely(http, harness, path_of, name, told):
    path = await path_of(name)
    quoted = path.removesuffix(name) + "".join(f"%{byte:02X}" for byte in name.encode())

    answer = await http.get(quoted)

    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith(told)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("name", ["nothing.txt", "..%2Freport.bin", "%00", "report.bin/"])
async def test_file_that_is_not_there_is_not_found(http, path_of, name):
    path = await path_of()

    answer = await http.get(path.removesuffix("report.bin") + name)

    assert (answer.status_code, answer.json()["code"]) == (404, "artifact_not_found")


async def test_file_whose_bytes_are_gone_is_told_before_the_first_byte(http, harness, path_of):
    path = await path_of()
    await harness.artifacts.delete(hashlib.sha256(CONTENT).hexdigest())

    whole = await http.get(path)
    part = await http.get(path, headers={"Range": "bytes=0-9"})

    assert [answer.status_code for answer in (whole, part)] == [500, 500]
    assert whole.json()["code"] == "artifact"


async def test_files_are_content(running, path_of):
    path = await path_of()

    async with running.http(await running.key(Action.READ)) as http:
        answers = [await http.get(path), await http.get(path.removesuffix("/report.bin"))]

    assert [answer.status_code for answer in answers] == [403, 403]


async def test_holder_of_a_jobs_token_gets_its_files(running, path_of):
    path = await path_of()
    token = running.service.tokens.for_job(path.split("/")[4])

    async with running.http() as http:
        answer = await http.get(f"{path}?token={token}")

    assert (answer.status_code, answer.content) == (200, CONTENT)


# --- ranges and tags by themselves ---------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "", "bytes", "bytes=-", "bytes=5-2", "bytes=0-1,3-4", "items=0-1", "bytes=a-b"]
)
def test_what_is_no_single_range_is_the_whole(header):
    assert range_of(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=9999999999-"])
def test_range_past_the_end_is_unsatisfiable(header):
    with pytest.raises(UnsatisfiableRangeError):
        range_of(header, 100)


def test_suffix_longer_than_the_file_is_the_file():
    assert range_of("bytes=-500", 100) == (0, 100)


@pytest.mark.parametrize(
    ("sent", "known"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False)],
)
def test_tags_compare_weakly(sent, known):
    assert matches(sent, '"a"') is known
    assert matches(sent, 'W/"a"') is known
