"""A reader, the facts of a report, and a model client that writes offline and keeps count."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from holdfast.apps.reports.astro import BirthData, Place, Precomputed, precompute
from holdfast.apps.reports.jobs import register_products
from holdfast.apps.reports.models import ReportRequest, WritingOptions
from holdfast.apps.reports.sample import write_report_sample
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

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        asked = asked_of(request)
        self.batches.append(asked["batch"])
        if self.errors.get(asked["batch"]):
            raise self.errors[asked["batch"]].pop(0)
        reply = await super().complete(request)
        if sum(len(period["questions"]) for period in asked["periods"]) > self.questions_max:
            return dataclasses.replace(reply, text=reply.text[:100], finish_reason="length")
        return reply


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
async def harness(tmp_path: Path, llm: LLM):
    async with Harness(tmp_path, resources={LLM: llm}) as harness:
        register_products(harness.registry, tmp_path / "work")
        yield harness
    await llm.close()
