"""A fleet on servers of its own: `holdfast worker` processes, PostgreSQL, Redis, and a client apart."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.diary import until, wait_for
from bench.harness import Bench, SideError
from bench.machines import LOOPBACK, NETWORK, Machine
from bench.servers import running, version_of
from holdfast.testing.servers.base import HOST
from holdfast.testing.servers.postgres import Postgres
from holdfast.testing.servers.redis import Redis

_APP = "bench.sides.fleet_jobs:app"
_WORKER = (sys.executable, "-c", "from holdfast.cli import main; main()", "--app", _APP, "worker")
_CELERY = (sys.executable, "-m", "celery", "-A", "bench.sides.celery_app", "worker", "-P", "prefork")
_READY_SECONDS_MAX = 60.0
_ASK_SECONDS_MAX = 240.0
_FILL_SECONDS_MAX = 120.0
_DATABASE = "bench"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a fleet plays, for one round."""

    bench: Bench
    folder: Path
    store: str
    """URL of a database that nobody has used."""
    broker: str
    """URL of an empty Redis."""
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def diary(self) -> Path:
        """Where jobs note that they have begun to wait."""
        return self.folder / "diary.txt"

    def worker(
        self, concurrency: int, *, machine: Machine = LOOPBACK, **environment: str
    ) -> "subprocess.Popen[bytes]":
        """Start a worker that consumes once this returns."""
        settings = {
            "HOLDFAST_STORE": machine.reach(self.store),
            "HOLDFAST_BROKER": machine.reach(self.broker),
            "HOLDFAST_HOME": str(self.folder / "home"),
            "HOLDFAST_PROVIDER": "scripted",
            "HOLDFAST_LOG_LEVEL": "info",
            **environment,
        }
        command = (*machine.within, *_WORKER, "--concurrency", str(concurrency))
        log = self.folder / f"worker-{len(self.workers) + 1}.log"
        return self.start(command, log, settings, r"info: ready\b")

    def celery(self, children: int, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a worker of the plain Celery application."""
        command = (*_CELERY, "--concurrency", str(children), "--loglevel", "info")
        log = self.folder / f"celery-{len(self.workers) + 1}.log"
        settings = {"BENCH_BROKER": self.broker, **environment}
        return self.start(command, log, settings, r"@\S+ ready\.")

    def start(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str], ready: str
    ) -> "subprocess.Popen[bytes]":
        """Start any worker and return once its log says so.

        Raises:
            SideError: It ended or said nothing of the kind.
        """
        process = self.bench.run(command, log, environment)
        self.workers.append(process)

        def said() -> bool:
            return bool(re.search(ready, log.read_text(errors="replace")))

        until(lambda: said() or process.poll() is not None, _READY_SECONDS_MAX)
        if not said():
            raise SideError(f"worker is not ready:\n{log.read_text(errors='replace')[-2_000:]}")
        return process

    def ask(self, role: str, *, machine: Machine = LOOPBACK, **arguments: Any) -> Any:
        """Have a client do something in a process of its own."""
        return self.bench.measure(
            "fleet_client",
            machine.within,
            seconds_max=_ASK_SECONDS_MAX,
            role=role,
            store=machine.reach(self.store),
            broker=machine.reach(self.broker),
            **arguments,
        )

    def fill(self, worker: "subprocess.Popen[bytes]", jobs: int) -> None:
        """Submit jobs that wait in a step, and return once this worker has begun so many."""
        self.ask("wait", diary=str(self.diary), jobs=jobs)
        wait_for(self.diary, worker.pid, jobs, seconds_max=_FILL_SECONDS_MAX)


@dataclass(frozen=True, kw_only=True)
class Servers:
    """The two servers; every round gets them as new."""

    bench: Bench
    postgres: Postgres
    redis: Redis

    @contextlib.contextmanager
    def stage(self) -> Iterator[Stage]:
        """Give a stage with nothing on it; what was started there is ended."""
        store = self.postgres.create_database(_DATABASE)
        with self.bench.fresh_folder() as folder:
            stage = Stage(bench=self.bench, folder=folder, store=store, broker=self.redis.url)
            stage.diary.touch()
            try:
                yield stage
            finally:
                for process in stage.workers:
                    self.bench.stop(process)
                self.postgres.drop_database(_DATABASE)
                self.redis.flushall()


@contextlib.contextmanager
def servers(bench: Bench, *, aof: bool = False, addresses: Sequence[str] = ()) -> Iterator[Servers]:
    """Start PostgreSQL and Redis, which serve these addresses of this machine beside loopback."""
    with (
        running(_OpenPostgres(addresses)) as postgres,
        running(_OpenRedis(addresses, aof=aof)) as redis,
    ):
        yield Servers(bench=bench, postgres=postgres, redis=redis)


class _OpenPostgres(Postgres):
    def __init__(self, addresses: Sequence[str]) -> None:
        super().__init__(fsync=True, settings={"listen_addresses": ",".join((HOST, *addresses))})

    def prepare(self) -> None:
        super().prepare()
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NETWORK} trust\n")


class _OpenRedis(Redis):
    def __init__(self, addresses: Sequence[str], *, aof: bool) -> None:
        super().__init__(aof=aof)
        self._addresses = addresses

    def command(self) -> list[str]:
        return [*super().command(), "--bind", HOST, *self._addresses, "--protected-mode", "no"]


def servers_note() -> str:
    """Say on the page what the fleet played on."""
    return _NOTE.replace("SERVERS", version_of("postgres", "redis-server"))


_NOTE = """
SERVERS, started for this on the same machine: PostgreSQL with `fsync`, Redis without persistence,
for what it loses the workers find in the store.
"""
