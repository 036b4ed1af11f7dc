"""Real servers of the benchmark's own, and what they are called on the page."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import TypeVar

from bench.harness import SideError
from holdfast.testing.servers.base import Server
from holdfast.testing.servers.programs import find_program

AnyServer = TypeVar("AnyServer", bound=Server)


@contextlib.contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Start a server, and end it afterwards with its data.

    Raises:
        SideError: This machine does not have it, or it does not start.
    """
    try:
        server.start()
    except (FileNotFoundError, RuntimeError, TimeoutError) as error:
        server.close()
        raise SideError(str(error)) from error
    try:
        yield server
    finally:
        server.close()


def version_of(*programs: str) -> str:
    """Return name and version of programs, as they tell it; nothing of one that is not here."""
    found = []
    for name in filter(None, map(find_program, programs)):
        told = subprocess.run((name, "--version"), capture_output=True, text=True, check=True).stdout
        # "postgres (PostgreSQL) 15.14 (Debian …)" and "Redis server v=7.0.15 sha=…".
        words = told.replace("(PostgreSQL)", "").replace("v=", "").split()
        version = next(word for word in words if word[0].isdigit())
        found.append(f"{'PostgreSQL' if words[0] == 'postgres' else words[0]} {version}")
    return ", ".join(found)
