"""Where the servers' programs lie: not every one of them is on a user's PATH."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_SYSTEM_FOLDERS = ("/usr/lib/rabbitmq/bin", "/usr/sbin", "/usr/local/sbin")
"""Looked at first: what Debian puts on root's PATH for RabbitMQ insists on its own folders and user."""


def find_program(name: str) -> str | None:
    """Return the absolute path of the program, or None when this machine does not have it.

    Debian keeps PostgreSQL's programs in a folder for each major version, off the PATH; the newest wins.
    """
    servers = Path("/usr/lib/postgresql").glob("*/bin")
    folders = [*_SYSTEM_FOLDERS, *sorted(map(str, servers), key=_version, reverse=True)]
    # Only a name goes through the folders; a path is what it says.
    inside = [] if "/" in name else [shutil.which(name, path=folder) for folder in folders]
    return next((found for found in inside if found), None) or shutil.which(name)


def program(name: str) -> str:
    """Return the absolute path of the program.

    Raises:
        FileNotFoundError: This machine does not have it.
    """
    found = find_program(name)
    if found is None:
        raise FileNotFoundError(
            f"program {name!r} is not on this machine; `make test` says which package has it"
        )
    return found


def _version(folder: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder))
