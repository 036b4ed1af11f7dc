"""`holdfast budget`: what a tenant may spend in a period."""

import json

from tests.cli.conftest import Command


def test_budget_is_set_changed_in_part_and_listed(holdfast: Command):
    holdfast("budget", "set", "acme", "--per", "month", "--usd", "200")

    changed = holdfast("budget", "set", "acme", "--per", "month", "--tokens", "2_000", "--json")
    listed = holdfast("budget", "list", "--json")

    assert (changed.status, json.loads(changed.out)) == (0, json.loads(listed.out))
    [found] = json.loads(listed.out)
    assert (found["tenant"], found["period"]) == ("acme", "month")
    assert found["budget"] == {"usd": "200", "tokens": 2_000}
    assert found["spent"] == found["reserved"] == {"usd": "0", "tokens": 0}
    table = holdfast("budget", "list").out
    assert "acme" in table
    assert "$200.00 and 2,000 tokens" in " ".join(table.split())


def test_lifted_budget_leaves_the_list(holdfast: Command):
    holdfast("budget", "set", "acme", "--per", "day", "--tokens", "5")

    lifted = holdfast("budget", "set", "acme", "--per", "day", "--tokens", "none")

    assert "unlimited" in lifted.out
    assert "No budgets." in holdfast("budget", "list").out
    assert json.loads(holdfast("budget", "list", "acme", "--json").out) == []


def test_budget_without_a_limit_or_with_a_wrong_one_is_refused(holdfast: Command):
    nothing = holdfast("budget", "set", "acme", "--per", "day")
    wrong = holdfast("budget", "set", "acme", "--per", "day", "--usd", "much")
    period = holdfast("budget", "set", "acme", "--per", "year", "--usd", "1")

    assert [each.status for each in (nothing, wrong, period)] == [2, 2, 2]
    assert "give --usd, --tokens or both" in nothing.err
    assert "'much' is not a limit" in " ".join(wrong.err.split())
    assert "'day', 'month'" in " ".join(period.err.split())
