"""The short form of `make chaos`: half a minute of everything that goes wrong, on either broker."""

import os
import random

import pytest

from holdfast.testing.chaos import Options, plan_of, report, run_chaos
from holdfast.testing.chaos.__main__ import main

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(240),
    pytest.mark.requires("initdb", "postgres", "redis-server", "rabbitmq-server"),
]

SEED = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
async def test_fleet_loses_no_job_and_hides_no_payment_whatever_goes_wrong(broker, tmp_path, capsys):
    """Every job ends once with the right output, and provider, ledger and jobs tell the same story."""
    options = Options(
        broker=broker,
        seconds=28.0,
        jobs=60,
        steps=8,
        call_seconds=0.8,
        lease_seconds=3.0,
        gap_seconds=2.0,
        still_seconds=45.0,
    )

    outcome = await run_chaos(options, plan_of(options, SEED), tmp_path)

    told = "\n".join([f"HOLDFAST_SEED={SEED}", *report.lines(outcome)])
    with capsys.disabled():
        print(f"\n{told}")  # noqa: T201 - the figures of the run
    report.write(outcome, tmp_path)
    assert not outcome.findings, "\n".join([told, *outcome.done, f"logs and books: {tmp_path}"])
    assert len(outcome.books.provider) >= options.jobs * options.steps
    assert len(outcome.done) == len(outcome.faults)
    assert [process for process in outcome.books.processes if process.blows]


def test_command_runs_workers_without_a_broker_and_tells_what_it_did(capsys):
    """`python -m holdfast.testing.chaos`, at its smallest."""
    arguments = "--broker none --minutes 0.15 --jobs 12 --steps 4 --call-seconds 0.5 --gap-seconds 1.5"

    status = main([*arguments.split(), "--lease-seconds", "2", "--shrink", "0", "--seed", str(SEED)])

    said = capsys.readouterr().out
    assert status == 0, said
    assert f"seed {SEED}, broker none" in said
    assert "12 completed" in said
    assert "the three books agree, nothing was left behind" in said
