"""Running the measured programs: apart, in fresh folders, none left behind."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


class SideError(RuntimeError):
    """A measured program failed or took too long."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a figure's table."""

    what: str
    ours: str
    """Our figure with its unit."""
    peer: str = ""
    """The peer's name and figure; empty where there is none."""
    ratio: str = ""
    """Ours against the peer's, better than it above 1."""
    target: str = ""
    """Empty for what is only shown."""
    met: bool | None = None
    """None where there is no target."""
    short_by: str = ""
    """By how much the target was missed."""

    @property
    def verdict(self) -> str:
        """Return the last column."""
        if self.met is None:
            return ""
        return "met" if self.met else f"**not met**: {self.short_by}"


@dataclass(kw_only=True)
class Table:
    """What measuring one figure gave."""

    rows: list[Row] = field(default_factory=list)
    note: str = ""
    """How it was measured, in Markdown."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much to measure."""

    quick: bool = False
    """Smaller sizes: is it still about right? Its verdicts are not the final ones."""
    tiny: bool = False
    """The least that still runs everything; for the harness's own test."""

    def pick(self, full: Any, quick: Any, tiny: Any) -> Any:
        """Return the size for this plan."""
        return tiny if self.tiny else quick if self.quick else full


NOT_MEASURED = "not measured: not installed (dependency group `bench`), or left out"


class Bench:
    """Starts measured programs and knows all that still run."""

    def __init__(self, plan: Plan, folder: Path, *, tell: Callable[[str], None] = print) -> None:
        """Prepare a run.

        Args:
            plan: How much to measure.
            folder: Where the fresh folders are made; on the disk that is to be measured.
            tell: Gets a line for each thing that is done.
        """
        self.plan = plan
        self.tell = tell
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve()
        self._running: list[subprocess.Popen[bytes]] = []

    @contextlib.contextmanager
    def fresh_folder(self) -> Iterator[Path]:
        """Give an empty folder that is gone afterwards."""
        path = Path(tempfile.mkdtemp(prefix="run-", dir=self._folder))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def start(
        self, side: str, log: Path, within: Sequence[str] = (), /, **arguments: Any
    ) -> subprocess.Popen[bytes]:
        """Start a program of `bench.sides`; its errors go to `log`.

        `within` is what comes before the command, such as `ip netns exec NAME`.
        """
        command = (sys.executable, "-m", f"bench.sides.{side}", json.dumps(arguments))
        return self.run((*within, *command), log)

    def run(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start any program in a session of its own, with these variables beside the bare ones."""
        with log.open("ab") as errors:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env={**_environment(), **(environment or {})},
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def measure(
        self, side: str, within: Sequence[str] = (), /, *, seconds_max: float, **arguments: Any
    ) -> Any:
        """Run a program of `bench.sides` in a fresh folder and return what it found.

        Raises:
            SideError: It failed or took too long; the end of its errors is in the text.
        """
        with self.fresh_folder() as folder:
            log = folder / "errors.log"
            process = self.start(side, log, within, folder=str(folder), **arguments)
            began = time.monotonic()
            try:
                output, _ = process.communicate(timeout=seconds_max)
            except subprocess.TimeoutExpired:
                raise SideError(
                    f"{side} {arguments} took over {seconds_max:g} s\n{_end_of(log)}"
                ) from None
            finally:
                self.stop(process)
            if process.returncode != 0:
                raise SideError(f"{side} {arguments} ended with {process.returncode}\n{_end_of(log)}")
            self.tell(f"  {side} {_brief(arguments)}: {time.monotonic() - began:.1f} s")
            return json.loads(output.decode().strip().splitlines()[-1])

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a program and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if process in self._running:
            self._running.remove(process)

    def close(self) -> None:
        """End whatever still runs and remove the folder if nothing else is in it."""
        for process in list(self._running):
            self.stop(process)
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def _environment() -> dict[str, str]:
    """Return a bare environment: no settings, no keys, and no proxy between us and loopback."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost"}


def _brief(arguments: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in arguments.items())


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:] if log.exists() else ""


def installed(module: str) -> bool:
    """Whether a peer is there; without the dependency group `bench` the others are still measured."""
    return importlib.util.find_spec(module) is not None


def alternate(rounds: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Measure A B A B …, and return the figures of each side in order of the rounds."""
    found: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for figures, side in zip(found, sides, strict=True):
            figures.append(side())
    return found


def pairwise(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the ratios of each round, so that a slow minute hits both sides."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
