"""A reader, the facts of a report, and a model client that writes offline and keeps count."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import re
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from holdfast.apps.reports import product, writing
from holdfast.apps.reports.astro import BirthData, Place, Precomputed, precompute
from holdfast.apps.reports.jobs import register_products
from holdfast.apps.reports.models import ReportRequest, WritingOptions
from holdfast.apps.reports.printing import Printed, make_folder
from holdfast.apps.reports.render import ReportDocument
from holdfast.apps.reports.render.jobs import MergeResult
from holdfast.apps.reports.sample import write_report_sample
from holdfast.engine.context import JobContext
from holdfast.llm.client import LLM
from holdfast.llm.config import FREE, LLMConfig, ModelConfig
from holdfast.llm.providers.base import ProviderReply, ProviderRequest
from holdfast.llm.providers.scripted import Scripted
from holdfast.testing.harness import Harness

LISBON = Place(
    name="Lisbon", country="Portugal", latitude=38.72509, longitude=-9.1498, timezone="Europe/Lisbon"
)
BIRTH = BirthData(
    name="Amélie Hartmann", birth_date=date(1990, 3, 14), birth_time=time(7, 25), place=LISBON
)
START = date(2026, 5, 20)


def asked_of(request: ProviderRequest) -> dict[str, Any]:
    """Return the JSON that a prompt asks with."""
    found = re.search(r"```json\n(.*?)\n```", request.messages[-1]["content"], re.DOTALL)
    assert found is not None
    asked: dict[str, Any] = json.loads(found[1])
    return asked


class Desk(Scripted):
    """An offline provider that writes reports, remembers the batches, and may be told to fail."""

    def __init__(self) -> None:
        super().__init__(write_report_sample)
        self.batches: list[str] = []
        """Ids of the batches asked for, in order."""
        self.questions_max = 1_000
        """Batches of more questions than this are cut off."""
        self.errors: dict[str, list[Exception]] = {}
        """What to raise for a batch, first to last, before it is written."""
        self.held = ""
        """The batch whose answer is kept back."""
        self.reached, self.release = asyncio.Event(), asyncio.Event()
        """Set when the held batch is asked for; set by the test to let its answer go."""
        self.spoilt: dict[str, list[str]] = {}
        """Texts to answer a batch with, first to last, instead of good ones."""

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        asked = asked_of(request)
        self.batches.append(asked["batch"])
        if self.errors.get(asked["batch"]):
            raise self.errors[asked["batch"]].pop(0)
        reply = await super().complete(request)
        if asked["batch"] == self.held:
            self.reached.set()
            await self.release.wait()
        if self.spoilt.get(asked["batch"]):
            return _with_text(reply, asked, self.spoilt[asked["batch"]].pop(0))
        if sum(len(period["questions"]) for period in asked["periods"]) > self.questions_max:
            return dataclasses.replace(reply, text=reply.text[:100], finish_reason="length")
        return reply


def _with_text(reply: ProviderReply, asked: dict[str, Any], text: str) -> ProviderReply:
    periods = [
        {
            "period": period["period"],
            "answers": [{"question": each["number"], "answer": text} for each in period["questions"]],
        }
        for period in asked["periods"]
    ]
    return dataclasses.replace(reply, text=json.dumps({"periods": periods, "sample": True}))


def report_request(**options: Any) -> ReportRequest:
    return ReportRequest(birth=BIRTH, start=START, options=WritingOptions(**options))


@pytest.fixture(scope="session")
def facts() -> Precomputed:
    return precompute(BIRTH, START)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def llm(desk: Desk) -> LLM:
    model = ModelConfig(model="scripted", provider="scripted", price=FREE)
    return LLM(LLMConfig.single(model), {"scripted": desk})


@pytest.fixture
async def harness(tmp_path: Path, desk: Desk):
    async with Harness(tmp_path) as harness:
        model = ModelConfig(model="scripted", provider="scripted", price=FREE)
        llm = LLM(LLMConfig.single(model), {"scripted": desk}, lanes=harness.store, ledger=harness.store)
        harness.services.resources[LLM] = llm
        register_products(harness.registry, tmp_path / "work")
        yield harness
        for worker in harness.workers:
            await worker.drain()
        await llm.close()


@pytest.fixture
def quick_sky(monkeypatch, facts: Precomputed):
    """Take the sky from the session's facts instead of computing it in a child process."""

    def known(birth: BirthData, start: date) -> Precomputed:
        return facts

    monkeypatch.setattr(product, "precompute", known)
    monkeypatch.setattr(product, "SKY", False)


@pytest.fixture
def quick_print(monkeypatch, quick_sky):
    """Neither compute the sky nor typeset: for tests of what happens in between."""

    async def pass_cover(job: JobContext, name: str) -> None:
        assert name

    async def print_text(job: JobContext, document: ReportDocument, folder: Path) -> Printed:
        make_folder(str(folder))
        content = document.model_dump_json().encode()
        path = folder / "report.pdf"
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        pdf = MergeResult(path=str(path), pages=1, size=len(content), sha256=sha256, links=0)
        return Printed(pdf=pdf, notices=())

    monkeypatch.setattr(product, "check_cover", pass_cover)
    monkeypatch.setattr(product, "print_document", print_text)


@pytest.fixture
def no_wait(monkeypatch):
    """Tries of a batch follow each other at once."""
    policy = dataclasses.replace(writing.WRITING_RETRY, base_seconds=0)
    monkeypatch.setattr(writing, "WRITING_RETRY", policy)
