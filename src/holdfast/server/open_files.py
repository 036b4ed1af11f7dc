"""How many files, and so how many connections, this process may have open."""

from __future__ import annotations

import resource

OTHERS_MAX = 256
"""Left for what is no stream: requests, the store, log files, child processes."""

_ENOUGH = 1_048_576


def open_files_max() -> int:
    """Return this process's limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def raise_open_files() -> int:
    """Raise this process's limit as far as it may be raised, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if wanted > open_files_max():
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return open_files_max()
