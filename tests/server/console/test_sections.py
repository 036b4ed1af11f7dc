"""Pages of applications in the console: in its looks, behind its guards, for those they are for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from holdfast.server.access import Action
from holdfast.server.console.pages import SectionRouter, environment, render
from holdfast.server.console.viewing import Viewer, allowed
from holdfast.server.sections import Section
from holdfast.testing.service import running_service
from tests.server.test_console import Visitor, visitor

TIDES = Section(
    path="tides",
    word="Tides",
    package="harbour",
    open_to=lambda resources, principal: str in resources and principal.tenant is None,
)
router = SectionRouter(TIDES)


@router.get("")
async def show_tides(
    request: Request, viewer: Annotated[Viewer, Depends(allowed(Action.READ, section=TIDES))]
) -> Response:
    """Show when the water comes."""
    return render(request, "tides.html", viewer, section=TIDES, water="<high>")


@pytest.fixture(autouse=True)
def harbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a template of its own, and one that would take the console's place."""
    folder = tmp_path / "packages" / "harbour" / "console_templates"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "base.html").write_text("somebody else's")
    page = "{% extends 'base.html' %}{% block main %}<h1>{{ water }}</h1>{% endblock %}"
    (folder / "tides.html").write_text(page)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    environment.cache_clear()
    yield
    environment.cache_clear()


async def test_section_has_the_console_s_looks_and_its_entry_in_the_navigation(harness):
    async with running_service(harness, routers=[router], resources={str: "open"}) as running:
        operator = await visitor(running)
        page, jobs = await operator.text("/tides"), await operator.text("/jobs")
        nobody = await Visitor(running, "").get("/tides")

    assert "<h1>&lt;high&gt;</h1>" in page
    assert 'href="/console/tides" aria-current="page">Tides' in page
    assert 'href="/console/tides">Tides' in jobs
    assert "somebody else" not in page
    assert nobody.status_code == 303


async def test_section_does_not_exist_for_whom_it_is_not(harness):
    async with running_service(harness, routers=[router], resources={str: "open"}) as running:
        limited = await visitor(running, tenant="acme")
        refused, elsewhere = await limited.get("/tides"), await limited.text("/jobs")
        blind = await (await visitor(running, Action.CONTROL)).get("/tides")
    async with running_service(harness, routers=[router]) as running:
        closed = await (await visitor(running)).get("/tides")

    assert (refused.status_code, blind.status_code, closed.status_code) == (404, 403, 404)
    assert "Tides" not in elsewhere
