"""The short form of `make soak`: eight customers, a fleet, and kills."""

import os
import random

import pytest

from holdfast.testing.soak import Options, report, run_soak
from holdfast.testing.soak.books import Way

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(480),
    pytest.mark.requires("initdb", "postgres", "redis-server"),
]

SEED = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


async def test_shop_delivers_what_was_paid_once_whatever_is_killed(tmp_path, capsys):
    """Customers, payment service, shop, jobs, mail server and provider tell the same story."""
    options = Options(
        orders=8,
        seconds=8.0,
        kill_every=4.0,
        probes=0,
        horoscopes=0,
        days=3,
        answers=1,
        speed=20.0,
        lease_seconds=3.0,
        still_seconds=60.0,
    )

    outcome = await run_soak(options, SEED, tmp_path)

    told = "\n".join([f"HOLDFAST_SEED={SEED}", *report.lines(outcome)])
    with capsys.disabled():
        print(f"\n{told}")  # noqa: T201 - the figures of the run
    report.write(outcome, tmp_path)
    assert not outcome.findings, "\n".join([told, *outcome.done, f"logs and books: {tmp_path}"])
    assert {visit.customer.way for visit in outcome.books.visits} == set(Way)
    assert outcome.books.work.provider
    assert [each for each in outcome.books.work.processes if each.blows]
