"""The command line under test: in this process where that is enough, as a real process elsewhere."""

import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.cli.program import run
from tests.cli import sample_app

ROOT = Path(__file__).parents[2]
SAMPLE = ("--app", "tests.cli.sample_app:app")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, no settings from outside, and the logging of before."""
    for name in list(os.environ):
        if name.startswith(("HOLDFAST_", "OPENAI_", "OTEL_")) or name in {
            "COLUMNS",
            "FORCE_COLOR",
            "NO_COLOR",
        }:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    # The module is imported once; each test has settings of its own.
    monkeypatch.setattr(sample_app.app, "_settings", None)
    logger = logging.getLogger("holdfast")
    before = (logger.handlers, logger.level, logger.propagate)
    yield
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def holdfast(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process."""

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        status = run(arguments)
        captured = capsys.readouterr()
        return Ended(int(status), captured.out, captured.err)

    return call


@pytest.fixture
def sample(holdfast: Command) -> Command:
    """Run a command line of the sample application in this process."""
    return lambda *arguments: holdfast(*SAMPLE, *arguments)


@dataclass
class Running:
    """A command in a process of its own, whose lines can be waited for."""

    process: asyncio.subprocess.Process
    seen: list[str] = field(default_factory=list)

    async def line(self, pattern: str) -> str:
        """Return the next line on stderr that has the pattern; fail when the process ends first."""
        assert self.process.stderr is not None
        while raw := await self.process.stderr.readline():
            self.seen.append(raw.decode().rstrip("\n"))
            if re.search(pattern, self.seen[-1]):
                return self.seen[-1]
        raise AssertionError(f"no line with {pattern!r} in:\n" + "\n".join(self.seen))

    async def end(self) -> Ended:
        """Wait for the end of the process."""
        out, err = await self.process.communicate()
        return Ended(self.process.returncode or 0, out.decode(), "\n".join([*self.seen, err.decode()]))


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start a command line as a process of its own, killed at the end if need be."""
    started: list[asyncio.subprocess.Process] = []

    async def begin(*arguments: str, **environment: str) -> Running:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from holdfast.cli import main; main()",
            *arguments,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return Running(process)

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()
