"""A shop of its own that runs durable jobs: its routes, its database, one process.

uvicorn examples.fastapi_app:web
curl -X POST localhost:8000/orders -d '{"item": "atlas"}' -H 'Content-Type: application/json'
curl localhost:8000/orders/1
curl localhost:8000/holdfast/api/v1/jobs -H "Authorization: Bearer $(holdfast keys new me)"
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from holdfast import App, JobContext

durable = App()


class Order(BaseModel):
    item: str


@durable.job("pack")
async def pack(job: JobContext, order: Order) -> str:
    box = await job.step("box", _find_box, order.item)
    return await job.step("label", _print_label, order.item, box)


def _find_box(item: str) -> int:
    return len(item)


def _print_label(item: str, box: int) -> str:
    return f"{item} in box {box}"


# The store's own file: what is committed together has to be in one database.
engine = create_async_engine("sqlite+aiosqlite:///.holdfast/holdfast.db")

ORDERS = "CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, item TEXT, job_id TEXT)"


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    # Whoever comes first makes the file, and Holdfast wants it empty or its own.
    async with durable.client(), engine.begin() as connection:
        await connection.execute(text(ORDERS))
    yield
    await engine.dispose()


web = FastAPI(title="Shop", lifespan=lifespan)
web.include_router(durable.router(), prefix="/holdfast")


@web.post("/orders", status_code=201)
async def order(order: Order, request: Request) -> dict[str, object]:
    jobs = request.state.holdfast.client
    async with AsyncSession(engine) as session, session.begin():
        job = await jobs.submit("pack", order, within=session)
        placed = await session.execute(
            text("INSERT INTO orders (item, job_id) VALUES (:item, :job_id) RETURNING number"),
            {"item": order.item, "job_id": job.job_id},
        )
        number = placed.scalar_one()
    return {"number": number, "job_id": job.job_id}


@web.get("/orders/{number}")
async def look(number: int, request: Request) -> dict[str, object]:
    async with AsyncSession(engine) as session:
        found = await session.execute(
            text("SELECT item, job_id FROM orders WHERE number = :number"), {"number": number}
        )
        row = found.one_or_none()
    if row is None:
        raise HTTPException(404, "no such order")
    job = await request.state.holdfast.client.get(row.job_id)
    return {"item": row.item, "status": job.status}
