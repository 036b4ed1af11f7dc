"""Waits for the end of all jobs, as long as anything moves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the jobs are."""

    left: int
    """Jobs that have not ended."""
    steps: int
    """Steps with a stored result: they become more as long as jobs move, and there is an end to them."""
    ghosts: int
    """Workers whose process is gone and that are still known."""


async def ended(store_url: str, *, still_seconds: float) -> str | None:
    """Wait until all jobs have ended, or tell which have not.

    As long as something moves it is waited for: how long that takes is the machine's business.

    Args:
        store_url: Where the jobs are.
        still_seconds: How long nothing may move.
    """
    standing, moved_at = Standing(-1, 0, 0), time.monotonic()
    while time.monotonic() < moved_at + still_seconds:
        with contextlib.suppress(psycopg.OperationalError):
            found = await asyncio.to_thread(standing_of, store_url)
            # A worker that was killed last is signed off once its lease is over, by those that live.
            if not found.left and not found.ghosts:
                return None
            if found != standing:
                standing, moved_at = found, time.monotonic()
        await asyncio.sleep(_POLL_SECONDS)
    if not standing.left:
        return f"a worker that is gone was still known {still_seconds:g} s after everything had ended"
    return f"{standing.left} jobs have not ended, and nothing has moved for {still_seconds:g} s"


def standing_of(store_url: str) -> Standing:
    """Return how far they are now."""
    with psycopg.connect(store_url, autocommit=True) as connection:
        left, steps = connection.execute(
            "SELECT (SELECT COUNT(*) FROM jobs WHERE finished_at IS NULL),"
            " (SELECT COUNT(*) FROM checkpoints WHERE finished = 1)"
        ).fetchall()[0]
        workers = connection.execute("SELECT pid FROM workers").fetchall()
    return Standing(left, steps, sum(_is_gone(pid) for (pid,) in workers))


def _is_gone(pid: int) -> bool:
    try:
        # Empty for a process that has ended and that nobody has asked for its status yet.
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
