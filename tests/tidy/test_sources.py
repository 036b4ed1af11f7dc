"""The house rules, held against this tree."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tidy import rules

ROOT = Path(__file__).parents[2]

RULES = [
    rules.long_files,
    rules.long_functions,
    rules.long_parameter_lists,
    rules.wide_classes,
    rules.grown_medians,
    rules.shapeless_modules,
    rules.open_packages,
    rules.environment_readers,
    rules.sleeping_tests,
    rules.mocking_tests,
    rules.unfinished_work,
    rules.machine_paths,
    rules.paths_outside,
    rules.foreign_package_hosts,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_tree_keeps_rule(rule: Callable[[Path], list[str]]):
    findings = rule(ROOT)

    assert not findings, f"{rule.__name__}:\n" + "\n".join(findings)
