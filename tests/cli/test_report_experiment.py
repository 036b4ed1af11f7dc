"""`holdfast report-experiment`: two batch sizes side by side."""

import json
import re

import pytest

from tests.cli.conftest import Command

# Each size computes the sky in a child process.
pytestmark = pytest.mark.timeout(120)

WHO = ("--name", "Ada Example", "--born", "1990-05-20", "--place", "Lisbon", "--start", "2026-05-20")
BLUEPRINT = ("report-experiment", "personal_blueprint", *WHO, "--sizes", "6,12")


def test_two_sizes_are_written_and_measured(holdfast: Command):
    """The offline writer's text does not depend on the batch, so only calls and tokens differ."""
    ended = holdfast(*BLUEPRINT, "--json")
    table = holdfast(*BLUEPRINT)

    found = json.loads(ended.out)
    six, twelve = found["drafts"]
    assert (ended.status, table.status) == (0, 0), ended.err
    assert [six["batch_size"], twelve["batch_size"]] == [6, 12]
    assert [six["calls"], twelve["calls"]] == [9, 5]
    assert six["text"] == twelve["text"]
    assert six["text"]["answers"] == 52
    assert six["text"]["in_range_share"] == 1
    assert six["input_tokens"] > twelve["input_tokens"]
    rows = [re.split(r"\s{2,}", line.strip()) for line in table.out.splitlines()]
    assert ["batch size", "6", "12"] in rows
    assert ["calls", "9", "5"] in rows
    [repeated] = [row for row in rows if row[0] == "repeated 5-word runs"]
    assert repeated[1] == repeated[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("report-experiment", "life_clarity", *WHO), "no batch size"),
        (("report-experiment", "bundle", *WHO), "no batch size"),
        ((*BLUEPRINT, "--sizes", "6"), "two or more"),
        ((*BLUEPRINT, "--sizes", "6,x"), "not numbers"),
        ((*BLUEPRINT, "--sizes", "6,60"), "sections_per_batch"),
    ],
)
def test_experiment_that_cannot_be_made_says_why(holdfast: Command, arguments, told: str):
    ended = holdfast(*arguments)

    assert ended.status == 2
    assert told in re.sub(r"\s+", " ", ended.err)
