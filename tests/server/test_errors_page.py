"""The page that problems link to."""

import re
from html.parser import HTMLParser

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.server.errors_page import entries
from holdfast.server.problems import INTERNAL


class Page(HTMLParser):
    """Anchors, links and whatever would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        self.loaded += [value for name, value in attrs if name in {"src", "style"} or tag == "link"]


def codes() -> set[str]:
    known = [getattr(errors, name) for name in errors.__all__]
    return {error.code for error in known if issubclass(error, HoldfastError)} | {INTERNAL}


async def test_every_code_has_its_place_on_the_page(running):
    async with running.http() as http:
        answer = await http.get("/errors")

    page = Page(answer.text)
    assert answer.status_code == 200
    assert sorted(page.ids) == sorted(codes())
    assert page.loaded == []


async def test_problem_leads_to_its_place(running, http):
    problem = (await http.get("/api/v1/jobs/job_0")).json()
    path, _, anchor = problem["type"].partition("#")

    async with running.http() as anybody:
        page = Page((await anybody.get(path)).text)

    assert anchor in page.ids


async def test_page_may_only_be_styled_by_itself(running):
    async with running.http() as http:
        policy = (await http.get("/errors")).headers["content-security-policy"]

    assert re.search(r"default-src 'none'; style-src 'sha256-[\w+/]+=*';", policy)


def test_every_code_is_explained():
    assert [entry.code for listed in entries().values() for entry in listed if not entry.meaning] == []
