"""Something that answers a client as it is told, and a clock that is never waited for."""

import json
from collections.abc import Callable
from typing import Any

import httpx2

from holdfast.remote import Client
from holdfast.remote.transport import Transport
from holdfast.server.examples import JOB

Answer = Callable[[httpx2.Request], httpx2.Response]


class NoTime:
    """A clock whose sleeps are over at once, and on record."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self):
        raise NotImplementedError

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Service:
    """Something that answers as it is told, and a client of it."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.clock = NoTime()
        self.client = Client("http://127.0.0.1:1", "hf_key", clock=self.clock)
        self.client._transport = Transport(
            self.client._transport.address, "hf_key", self.clock, httpx2.MockTransport(self.answer)
        )

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request)


def told(status: int = 200, body: Any = JOB, **headers: str) -> Answer:
    return lambda _: httpx2.Response(status, json=body, headers=headers)


def problem(status: int, code: str, **more: Any) -> Answer:
    headers = {"Content-Type": "application/problem+json", **more.pop("headers", {})}
    body = json.dumps({"code": code, "detail": "it is so", **more}).encode()
    return lambda _: httpx2.Response(status, content=body, headers=headers)
