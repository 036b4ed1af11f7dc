"""Which moments to die at: a seeded sample, or all of them with HOLDFAST_CRASH=full."""

import asyncio
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import pytest

from holdfast.store.sqlite_store import SqliteStore
from holdfast.testing.crash import CrashPoint, Place
from tests.crash.world import Ending, Scenario, World, audit, describe

FULL = os.environ.get("HOLDFAST_CRASH", "") == "full"
SEED = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
ONLY = [point.strip() for point in os.environ.get("HOLDFAST_CRASH_AT", "").split(",") if point]
"""Moments such as `before write 12`, to look at one that failed."""

PLACES: tuple[Place, ...] = get_args(Place)
MOMENTS: tuple[Literal["before", "after"], ...] = ("before", "after")
Enumerate = Callable[..., Awaitable[list[Ending]]]


def pytest_report_header() -> str:
    return f"crash tests: {'every point' if FULL else f'sampled, HOLDFAST_SEED={SEED}'}"


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """A migrated, empty database."""
    path: Path = tmp_path_factory.mktemp("template") / "holdfast.db"

    async def migrate() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.close()

    asyncio.run(migrate())
    return path


def points_of(ending: Ending, sample: int) -> list[CrashPoint]:
    """Return the moments of an undisturbed life: all, or every so-and-so-many from a drawn one on."""
    acts = ending.lives[0].acts
    every = [
        CrashPoint(at=at, number=number, when=when)
        for at in PLACES
        for number in range(1, acts[at] + 1)
        for when in MOMENTS
    ]
    if ONLY:
        return [point for point in every if str(point) in ONLY]
    step = 1 if FULL else max(1, len(every) // sample)
    return every[random.Random(SEED).randrange(step) :: step]


@pytest.fixture
def enumerate_crashes(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Enumerate:
    """Run a scenario once undisturbed, then once for each moment to die at, and audit each."""

    async def live(name: str, scenario: Scenario, point: CrashPoint | None) -> Ending:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(template, folder / "holdfast.db")
        return await World(folder, scenario, monkeypatch).run(point)

    async def run(scenario: Scenario, *, sample: int) -> list[Ending]:
        undisturbed = await live("undisturbed", scenario, None)
        audit(undisturbed, undisturbed, scenario)
        assert not undisturbed.log.repeated()
        points = points_of(undisturbed, sample)
        endings, failures = [], []
        for index, point in enumerate(points):
            try:
                ending = await live(f"point-{index}", scenario, point)
                audit(ending, undisturbed, scenario)
            except Exception as error:  # noqa: BLE001 - all moments are told of, not the first
                failures.append(f"{point}: {describe(error)}")
                continue
            endings.append(ending)
            shutil.rmtree(tmp_path / f"point-{index}")
        _tell(capsys, undisturbed, points, endings)
        assert not failures, f"{len(failures)} of {len(points)} moments:\n" + "\n".join(failures)
        return endings

    return run


def _tell(
    capsys: pytest.CaptureFixture[str],
    undisturbed: Ending,
    points: Sequence[CrashPoint],
    endings: Sequence[Ending],
) -> None:
    acts = undisturbed.lives[0].acts
    crashed = sum(len(ending.lives) > 1 for ending in endings)
    repeated = sum(len(ending.log.repeated()) for ending in endings)
    doubted = sum(call.status.repeats for ending in endings for call in ending.records.calls)
    with capsys.disabled():
        print(  # noqa: T201 - the figures of the run
            f"\n  {undisturbed.job.kind}: {', '.join(f'{acts[at]} {at}s' for at in PLACES)};"
            f" {len(points)} moments tried, {crashed} needed a second life;"
            f" {sum(len(ending.log.sent) for ending in endings)} calls paid,"
            f" {repeated} twice, {doubted} told in the ledger"
        )
