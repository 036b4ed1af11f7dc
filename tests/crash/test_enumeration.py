"""Whatever write or call a worker dies at, the next worker finishes and the ledger tells the truth."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast import codec
from holdfast.apps.reports import register_reports, report_request, write_report_sample
from holdfast.engine import invocation
from holdfast.engine.registry import Registry
from holdfast.llm import agents as _agents  # noqa: F401 - takes longer to import than a life is given
from holdfast.model import Budget, JobStatus
from tests.crash import jobs
from tests.crash.conftest import Enumerate
from tests.crash.typesetting import Replay
from tests.crash.world import Scenario

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for function in (jobs.everything, jobs.regrets, jobs.lingers, jobs.asks, jobs.delegates):
        registry.add(function.__name__, function)
    return registry


@pytest.fixture
def product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scenario]:
    """A real product, as short as its options let it be."""
    folder = tmp_path / "work"
    replay = Replay(folder)
    monkeypatch.setattr(invocation, "run_isolated", replay)
    registry = Registry()
    register_reports(registry, work_dir=folder)

    def scenario(kind: str, *, at_once: int, **options: Any) -> Scenario:
        request = report_request(
            name="Ada Example",
            born="1990-05-20 14:30",
            place="Lisbon",
            start="2026-05-20",
            **options,
        )
        text, _ = codec.encode_value(request, type(request), what="request")
        return Scenario(
            registry=registry,
            kind=kind,
            input=text,
            concurrency=at_once,
            writer=write_report_sample,
            # Dying between the removal of the work folder and its checkpoint costs another printing.
            reprints="print-2/",
            patience_seconds=120,
            leftovers=lambda: [path.name for path in folder.glob("*")],
            before=lambda: shutil.rmtree(folder, ignore_errors=True),
        )

    return scenario


async def test_job_with_everything_survives_a_crash_at_every_write_and_call(registry, enumerate_crashes):
    """Finished steps never run again, nothing is paid twice but what was in flight, and that is told."""
    scenario = Scenario(
        registry=registry,
        kind="everything",
        budget=Budget(tokens=700),
        concurrency=jobs.CONCURRENCY,
    )

    endings = await enumerate_crashes(scenario, sample=40)

    assert all("job.suspended" in ending.event_types for ending in endings)


async def test_parent_and_children_survive_a_crash_at_every_write_and_call(registry, enumerate_crashes):
    """No child is spawned or paid twice, whether the worker dies in its parent's code or in its own."""
    scenario = Scenario(registry=registry, kind="delegates", concurrency=jobs.CONCURRENCY)

    endings = await enumerate_crashes(scenario, sample=40)

    assert all(ending.event_types.count("child.ended") == jobs.CONCURRENCY for ending in endings)


@pytest.mark.parametrize(
    ("kind", "cancel_after", "ends"),
    [("regrets", [], JobStatus.FAILED), ("lingers", ["last"], JobStatus.CANCELLED)],
)
async def test_compensation_survives_a_crash_at_every_write(
    registry, enumerate_crashes: Enumerate, kind, cancel_after, ends
):
    """Every step that was booked is taken back, newest first, whenever the worker dies."""
    scenario = Scenario(registry=registry, kind=kind, cancel_after=frozenset(cancel_after), ends=ends)

    endings = await enumerate_crashes(scenario, sample=20)

    for ending in endings:
        undone = [key for _, key in ending.ran if key.startswith("holdfast:undo/")]
        assert list(dict.fromkeys(undone)) == [
            f"holdfast:undo/book/{what}" for what in ("car", "room", "flight")
        ]


async def test_horoscope_survives_a_crash_at_every_write_and_call(product, enumerate_crashes):
    """The file is the same to the byte, and no finished call is paid again, whenever the worker dies."""
    scenario = product(
        "personal_horoscope",
        at_once=2,
        days=3,
        answers_per_period=2,
        days_per_batch=1,
        concurrency=2,
    )

    endings = await enumerate_crashes(scenario, sample=12)

    assert all(codec.from_json(ending.job.output or b"null")["answers"] == 12 for ending in endings)


async def test_blueprint_survives_a_crash_at_every_write_and_call(product, enumerate_crashes):
    """Three rounds of two calls: the same file to the byte, and no call of a finished round again."""
    scenario = product("personal_blueprint", at_once=2, sections_per_batch=10, sections_per_round=2)

    endings = await enumerate_crashes(scenario, sample=12)

    assert all(codec.from_json(ending.job.output or b"null")["answers"] == 52 for ending in endings)


async def test_bundle_survives_a_crash_at_every_write_and_call(product, enumerate_crashes):
    """No part is made or paid for twice, whether its worker or its coordinator dies."""
    scenario = product("bundle", at_once=13, days=1, answers_per_period=1, sections_per_batch=12)

    endings = await enumerate_crashes(scenario, sample=12)

    for ending in endings:
        parts = codec.from_json(ending.job.output or b"null")["parts"]
        assert [part["report"] is not None for part in parts] == [True] * 3
