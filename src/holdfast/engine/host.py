"""Which machine this is, and which of its processes are gone."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.store.base import WorkerRecord


def host_identity() -> str:
    """Return the host's name, and on Linux the namespace that its process ids are valid in."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        return f"{name}/{Path('/proc/self/ns/pid').stat().st_ino}"
    return name


def is_gone(worker: WorkerRecord) -> bool:
    """Tell whether a worker is certainly dead: it ran here and its process no longer exists.

    A process id in use again only means that nothing is certain; then the lease decides.
    """
    if worker.host != host_identity():
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
