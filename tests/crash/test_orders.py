"""Whatever an order's worker or its shop dies at: one payment, one report, one e-mail of each sort."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.apps.reports import product
from holdfast.apps.reports.jobs import BUNDLE, register_products
from holdfast.apps.reports.orders.fulfilment import register_orders
from holdfast.apps.reports.orders.models import MailSort
from holdfast.apps.reports.sample import write_report_sample
from holdfast.engine.registry import Registry
from holdfast.errors import FatalError
from holdfast.llm import agents as _agents  # noqa: F401 - takes longer to import than a life is given
from holdfast.llm.providers.base import ProviderRequest
from holdfast.model import JobStatus
from holdfast.store.orders import Payment
from tests.apps.reports.conftest import asked_of, facts, quick_print, quick_sky
from tests.crash.conftest import Enumerate
from tests.crash.orders import OrderScenario

__all__ = ["facts", "quick_print", "quick_sky"]

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600), pytest.mark.usefixtures("quick_print")]

DELIVERED = frozenset({MailSort.CONFIRMATION, MailSort.READY})
AGENTS = 4


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., OrderScenario]:
    """Describe what becomes of an order."""
    folder = tmp_path / "work"
    registry = Registry()
    register_products(registry, folder)
    register_orders(registry)

    def scenario(**changes: Any) -> OrderScenario:
        described: dict[str, Any] = {
            "kind": "life_clarity",
            "concurrency": AGENTS,
            "writer": write_report_sample,
            "mails": DELIVERED,
            "outcome": MailSort.READY,
            "leftovers": lambda: [path.name for path in folder.glob("*")],
        }
        return OrderScenario(registry=registry, **described | changes)

    return scenario


async def test_order_survives_a_crash_at_every_write_call_and_email(order, enumerate_crashes: Enumerate):
    endings = await enumerate_crashes(order(), sample=16)

    assert all(len(ending.jobs) == 2 for ending in endings)


async def test_order_of_a_bundle_survives_a_crash_at_every_moment(order, enumerate_crashes: Enumerate):
    """Each part is made once, and one e-mail tells of all."""
    scenario = order(
        kind="bundle",
        parts=tuple(part.kind for part in BUNDLE.parts),
        concurrency=13,
        options={"days": 1, "answers_per_period": 1, "sections_per_batch": 12},
    )

    await enumerate_crashes(scenario, sample=8)


async def test_order_that_fails_is_told_of_once_at_whatever_its_worker_dies(
    order, enumerate_crashes: Enumerate, monkeypatch: pytest.MonkeyPatch
):
    async def jam(*_: object) -> None:
        raise FatalError("the press is broken")

    monkeypatch.setattr(product, "print_document", jam)
    scenario = order(
        ends=JobStatus.FAILED,
        mails=frozenset({MailSort.CONFIRMATION, MailSort.FAILED}),
        outcome=MailSort.FAILED,
    )

    await enumerate_crashes(scenario, sample=8)


async def test_order_given_back_while_it_is_written_is_never_announced(
    order, enumerate_crashes: Enumerate
):
    """Its job ends, once, whether the worker dies before or after the refund is on record."""

    async def write(request: ProviderRequest) -> str:
        if asked_of(request)["batch"] == "growth":
            await asyncio.Event().wait()
        return write_report_sample(request)

    others = {f"life_clarity: write/{agent}/1" for agent in ("identity", "emotional", "career")}
    scenario = order(
        writer=write,
        cancel_after=frozenset({"mail/confirmation", *others}),
        ends=JobStatus.CANCELLED,
        mails=frozenset({MailSort.CONFIRMATION}),
        payment=Payment.REFUNDED,
        outcome=None,
    )

    await enumerate_crashes(scenario, sample=8)
