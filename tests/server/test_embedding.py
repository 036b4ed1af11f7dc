"""The service as part of another FastAPI application: its prefix, its lifespan, its own manners."""

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from starlette.responses import PlainTextResponse

from holdfast import App, Client, JobContext
from holdfast.clock import SystemClock
from holdfast.server.access import ALL_ACTIONS, make_key
from holdfast.server.run import serve_api
from holdfast.settings import Settings

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def served(web: FastAPI) -> AsyncIterator[str]:
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_api(web, host="127.0.0.1", port=0, stop=stop, on_ready=ready.set_result)
    )
    try:
        await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield f"http://127.0.0.1:{ready.result()}"
    finally:
        stop.set()
        await serving


async def new_key(app: App) -> str:
    key, kept = make_key(name="test", actions=ALL_ACTIONS, at=SystemClock().now())
    async with app.service(with_worker=False) as service:
        await service.records.insert_key(kept)
    return key


@pytest.fixture
def durable(tmp_path: Path) -> App:
    app = App(Settings(home=tmp_path, body_bytes_max=1024))

    @app.job("greet")
    async def greet(job: JobContext, name: str) -> str:
        await job.save_artifact("name.txt", name.encode())
        return await job.step("greet", str.upper, name)

    return app


def shop(durable: App, **options: Any) -> FastAPI:
    """An application with its own lifespan, its own access, and its own words for errors."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"motto": "all sorts"}

    async def customer(request: Request) -> None:
        if request.headers.get("x-customer") != "ada":
            raise HTTPException(401, "who are you?")

    web = FastAPI(lifespan=lifespan)

    @web.exception_handler(HTTPException)
    async def told(_: Request, error: HTTPException) -> PlainTextResponse:
        return PlainTextResponse(f"shop: {error.detail}", error.status_code)

    @web.exception_handler(404)
    async def missing(_: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("shop: nothing here", 404)

    @web.get("/motto", dependencies=[Depends(customer)])
    async def motto(request: Request) -> dict[str, Any]:
        job = await request.state.holdfast.client.submit("greet", "from inside")
        return {"motto": request.state.motto, "job": job.kind}

    @web.post("/large")
    async def large(request: Request) -> int:
        return len(await request.body())

    web.include_router(durable.router(**options), prefix="/holdfast")
    return web


async def test_client_works_under_a_prefix(durable: App):
    key = await new_key(durable)

    async with served(shop(durable)) as url, Client(f"{url}/holdfast", key) as client:
        job = await client.submit("greet", "ada")
        events = [event.type async for event in client.events(job.job_id)]
        (artifact,) = await client.artifacts(job.job_id)
        content = b"".join([chunk async for chunk in client.stream_artifact(artifact)])
        output = await client.result(job.job_id, output=str)

    assert events[-1] == "job.completed"
    assert (content, output) == (b"ada", "ADA")


async def test_links_lead_to_where_they_are_mounted(durable: App):
    key = await new_key(durable)
    headers = {"Authorization": f"Bearer {key}"}

    async with served(shop(durable)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        body = {"kind": "greet", "input": "ada"}
        submitted = await http.post("/holdfast/api/v1/jobs", json=body, headers=headers)
        there = await http.get(submitted.headers["Location"], headers=headers)
        hook = {"url": "https://shop.example/hooks"}
        made = await http.post("/holdfast/api/v1/webhooks", json=hook, headers=headers)
        shown = await http.get(made.headers["Location"], headers=headers)
        absent = await http.get("/holdfast/api/v1/jobs/job_0", headers=headers)
        page = await http.get(absent.json()["type"].partition("#")[0])

    assert submitted.headers["Location"].startswith("/holdfast/api/v1/jobs/job_")
    assert there.json()["job_id"] == submitted.json()["job_id"]
    assert shown.json()["webhook_id"] == made.json()["webhook_id"]
    assert absent.json()["type"] == "/holdfast/errors#job_not_found"
    assert 'id="job_not_found"' in page.text


async def test_links_lead_there_below_a_root_path_too(durable: App):
    outer = FastAPI()
    web = shop(durable)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Any]:
        async with web.router.lifespan_context(web) as state:
            yield state

    outer.router.lifespan_context = lifespan
    outer.mount("/shop", web)

    async with served(outer) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        refused = await http.get("/shop/holdfast/api/v1/jobs/job_0")
        page = await http.get(refused.json()["type"].partition("#")[0])

    assert refused.json()["type"] == "/shop/holdfast/errors#not_authenticated"
    assert page.status_code == 200


async def test_application_keeps_its_own_handlers_access_and_state(durable: App):
    async with served(shop(durable)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        stranger = await http.get("/motto")
        customer = await http.get("/motto", headers={"x-customer": "ada"})
        missing = await http.get("/nowhere")

    assert (stranger.status_code, stranger.text) == (401, "shop: who are you?")
    assert customer.json() == {"motto": "all sorts", "job": "greet"}
    assert missing.text == "shop: nothing here"
    assert "content-security-policy" not in missing.headers


async def test_nobody_is_an_operator_there_by_claiming_to_be_near(durable: App):
    async with served(shop(durable)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        refused = await http.get("/holdfast/api/v1/jobs", headers={"Host": "localhost"})

    assert refused.status_code == 401


async def test_access_is_open_where_that_is_said(durable: App):
    async with (
        served(shop(durable, open_access=True)) as url,
        httpx2.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        assert (await http.get("/holdfast/api/v1/jobs")).status_code == 200


async def test_limits_and_headers_hold_for_its_routes_alone(durable: App):
    headers = {"Authorization": f"Bearer {await new_key(durable)}"}
    text = "x" * 2000

    async with served(shop(durable)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        body = {"kind": "greet", "input": text}
        refused = await http.post("/holdfast/api/v1/jobs", json=body, headers=headers)
        listed = await http.get("/holdfast/api/v1/jobs", headers=headers)
        large = await http.post("/large", content=text)

    assert (refused.status_code, refused.json()["code"]) == (413, "request_too_large")
    assert refused.json()["type"] == "/holdfast/errors#request_too_large"
    assert listed.headers["X-Content-Type-Options"] == "nosniff"
    assert int(listed.headers["RateLimit-Limit"]) == 6000
    assert (large.json(), "ratelimit-limit" in large.headers) == (2000, False)


async def test_example_places_orders_and_packs_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("fastapi_app", ROOT / "examples/fastapi_app.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "fastapi_app", example)
    spec.loader.exec_module(example)

    async with served(example.web) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        placed = (await http.post("/orders", json={"item": "atlas"})).json()
        async with example.durable.client() as client:
            label = await client.result(placed["job_id"])
        looked = (await http.get(f"/orders/{placed['number']}")).json()
        missing = await http.get("/orders/99")

    assert label == "atlas in box 5"
    assert looked == {"item": "atlas", "status": "completed"}
    assert missing.status_code == 404


async def test_pages_and_sockets_are_guarded_and_health_is_not_counted(tmp_path: Path):
    durable = App(Settings(home=tmp_path, body_bytes_max=1024, client_requests_per_minute=2))

    async with served(shop(durable)) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        health = [await http.get("/holdfast/health/live") for _ in range(4)]
        large = await http.post("/holdfast/console/sign-in", content="x" * 2000)
        page = await http.get("/holdfast/console/sign-in")
        too_many = await http.get("/holdfast/console/sign-in")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{url}/holdfast/api/v1/jobs/job_0/ws")

    assert [answer.status_code for answer in health] == [200] * 4
    assert health[0].headers["X-Content-Type-Options"] == "nosniff"
    assert (large.status_code, page.status_code, too_many.status_code) == (413, 200, 429)
    assert large.json()["type"] == "/holdfast/errors#request_too_large"
    assert too_many.json()["type"] == "/holdfast/errors#too_many_requests"
    assert refused.value.status == 403
