"""What every real server shares: a free port, a folder, and a life that can be ended in two ways."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from holdfast.testing.servers import keeper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = "127.0.0.1"

_POLL_SECONDS = 0.02
_STOP_SECONDS = 30.0
_LOG_TAIL_CHARACTERS = 2000
_FIRST_PORT, _LAST_PORT = 20_000, 32_000
"""Below the ports that systems hand to outgoing connections: while a server is down, a client that
tries again and again to reach such a port of its own machine ends up connected to itself."""


class Server(ABC):
    """A real server on the loopback interface, in a folder of its own.

    Stopped or killed, it can be started again with the same port and data. It never outlives the
    process that started it. Synchronous, not safe for several threads at once.

    As root, it runs as `account`, because some servers refuse root. That account must be able to reach
    the folder: pytest's `tmp_path` it cannot, so leave `folder` out there.

    Args:
        folder: Where its data and `server.log` lie. Left out, a temporary folder that is removed by
            `close()`, or when our process ends without.
    """

    name: ClassVar[str]
    """Of the server, in messages and folder names."""
    account: ClassVar[str | None] = None
    """Runs it when we are root ("nobody" where there is no such account); None: whoever we are."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    """Asks it to end in an orderly way and without waiting for its clients."""
    start_seconds: ClassVar[float] = 30.0
    """How long it may take to answer."""

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"holdfast-{self.name}-"))
        self.port = free_port()
        self._keeper: subprocess.Popen[bytes] | None = None

    # --- what each server says about itself ---

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach it."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program and its arguments; it must stay in the foreground."""

    @abstractmethod
    def ping(self) -> None:
        """Ask it something that it can answer only when ready; any exception means "not yet"."""

    def environment(self) -> Mapping[str, str]:
        """The variables that it sees: none of ours, so that it runs alike everywhere."""
        return {"PATH": os.defpath, "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def prepare(self) -> None:  # noqa: B027 - most servers need nothing
        """Lay out the data; runs before every start."""

    # --- its life ---

    @property
    def running(self) -> bool:
        """Whether its process is there; it may have ended by itself."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def pids(self) -> list[int]:
        """Its processes, the main one first; empty when it is down."""
        return keeper.descendants(self._keeper.pid) if self._keeper and self.running else []

    def start(self) -> Self:
        """Start it and return once it answers.

        Raises:
            RuntimeError: It is running already, or it ended instead of answering; with its last words.
            TimeoutError: It did not answer within `start_seconds`; it has been killed.
        """
        if self.running:
            raise RuntimeError(f"{self.name} runs already at port {self.port}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._hand_over(self.folder)
        self.prepare()
        self._keeper = self._spawn()
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it in an orderly way, after 30 seconds by force; nothing happens when it is down."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Kill all its processes at once (SIGKILL) and return when they are gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it when it runs, and start it with the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it, and remove its folder unless that was given."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- how ---

    @property
    def _runs_as(self) -> str | None:
        """The account to give its folder and process to, or None to keep our own."""
        if self.account is None or os.geteuid() != 0:
            return None
        return self.account if account_exists(self.account) else "nobody"

    def _hand_over(self, path: Path) -> None:
        if self._runs_as:
            shutil.chown(path, self._runs_as, pwd.getpwnam(self._runs_as).pw_gid)

    def _write(self, name: str, text: str) -> Path:
        """Put a file into the folder that the server's account may read."""
        path = self.folder / name
        path.write_text(text)
        self._hand_over(path)
        return path

    def _run(self, *command: str, timeout: float = 60.0) -> str:
        """Run a helper program as the server's account, in its folder; returns what it printed.

        Raises:
            RuntimeError: It failed; with its last words.
        """
        done = subprocess.run(  # noqa: S603 - commands are written in this package
            command,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            **keeper.as_user(self._runs_as or "-"),
        )
        if done.returncode:
            last_words = done.stdout[-_LOG_TAIL_CHARACTERS:]
            raise RuntimeError(f"{Path(command[0]).name} failed with {done.returncode}:\n{last_words}")
        return done.stdout

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    def _spawn(self) -> subprocess.Popen[bytes]:
        # Isolated and without site-packages, the keeper starts in a few milliseconds.
        python = (sys.executable, "-I", "-S", keeper.__file__)
        folder = str(self.folder) if self._temporary else "-"
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - commands are written in this package
                [*python, folder, self._runs_as or "-", *self.command()],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,
                start_new_session=True,  # the terminal's Ctrl-C is ours to handle
            )

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + self.start_seconds
        while True:
            if not self.running:
                raise RuntimeError(f"{self.name} ended instead of answering:\n{self._last_words()}")
            try:
                self.ping()
            except Exception as not_yet:
                if time.monotonic() > give_up_at:
                    raise TimeoutError(
                        f"{self.name} did not answer at port {self.port} within {self.start_seconds:g} s"
                        f" ({type(not_yet).__name__}: {not_yet}):\n{self._last_words()}"
                    ) from not_yet
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:]

    def _end(self, how: signal.Signals) -> None:
        process, self._keeper = self._keeper, None
        if process is None or process.stdin is None:
            return
        with process.stdin as leash:
            for order in (how, signal.SIGKILL):
                with contextlib.suppress(BrokenPipeError):  # it has ended by itself
                    leash.write(bytes([order]))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
                    return
        raise RuntimeError(f"{self.name} cannot be killed; look for its process at port {self.port}")


def account_exists(name: str) -> bool:
    """Whether the system knows this user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that no outgoing connection will be given."""
    # Not the shared generator: test runners seed it alike in all their processes.
    draw = random.SystemRandom()
    while True:
        port = draw.randint(_FIRST_PORT, _LAST_PORT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
