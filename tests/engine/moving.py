"""Helpers that several test files share."""

import asyncio
from datetime import timedelta

from holdfast.errors import RetryLaterError
from holdfast.model import RetryPolicy
from holdfast.scope import StepScope, current_step

AT_ONCE = RetryPolicy(base_seconds=0, jitter=False)
"""Retries without a wait."""

ONCE = RetryPolicy(attempts=1)


def step_scope() -> StepScope:
    """Return the scope of the step that is certain to be running."""
    scope = current_step()
    assert scope is not None
    return scope


async def passing(clock, awaitable, *, seconds=1.0):
    """Move the time on, again and again, until `awaitable` has ended; return its result.

    One move may come too early for somebody who only just makes up his mind to sleep.
    """
    task = asyncio.ensure_future(awaitable)
    while not task.done():
        clock.advance(seconds)
        await asyncio.wait((task,), timeout=0.01)
    return await task


def once_more():
    """Return what makes a job run twice in whole: the second attempt finds what the first stored."""
    attempts = []

    async def retry_once():
        attempts.append(1)
        if len(attempts) == 1:
            raise RetryLaterError("once more", retry_after=timedelta(0))

    return retry_once
