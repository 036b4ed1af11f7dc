"""The physical limit: FastAPI on uvicorn, one checked body, one INSERT that is fsynced, nothing else.

The INSERTs of requests that came together are committed together, as by our side.
"""

import itertools
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from bench.sides.program import main, run_async
from bench.sides.raw_steps import Writer
from bench.sides.submission_app import Order


class Body(BaseModel):
    kind: str
    input: Order


_INSERT = "INSERT INTO steps (job, key, value) VALUES (?, ?, ?)"


async def serve(folder: str, port: int) -> None:
    api, writer, numbers = FastAPI(), Writer(Path(folder) / "requests.db"), itertools.count()

    @api.post("/api/v1/jobs", status_code=202)
    async def submit(body: Body) -> dict[str, int]:
        number = next(numbers)
        await writer.write(_INSERT, (number, body.kind, body.input.model_dump_json()))
        return {"number": number}

    config = uvicorn.Config(api, port=port, access_log=False, log_config=None, server_header=False)
    await uvicorn.Server(config).serve()


def measure(**sizes: Any) -> Any:
    return run_async(serve(**sizes))


if __name__ == "__main__":
    main(measure)
