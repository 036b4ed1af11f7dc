"""Each house rule finds what it is there to find, and lets the good neighbour of it pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tidy import rules

METHODS = "".join(f"    def verb_{number}(self): ...\n" for number in range(20))
UNFINISHED = "# TO" + "DO: later\n"

CASES = {
    "long_files": (rules.long_files, "src/a.py", "x = 1\n" * 501, "x = 1\n" * 500),
    "long_functions": (
        rules.long_functions,
        "src/a.py",
        "def f():\n" + "    x = 1\n" * 60,
        'def f():\n    """Long\n' + "    story\n" * 70 + '    """\n    return 1\n',
    ),
    "long_parameter_lists": (
        rules.long_parameter_lists,
        "src/a.py",
        "def f(a, b, c, d, e, *, f, g, h, i): ...\n",
        "class C:\n    def f(self, a, b, c, d, e, *, f, g, h): ...\n",
    ),
    "wide_classes": (
        rules.wide_classes,
        "src/holdfast/store/a.py",
        f"class Rescuer:\n{METHODS}",
        f"class SqlStore:\n{METHODS}",
    ),
    "wide_stores": (
        rules.wide_classes,
        "src/holdfast/store/a.py",
        f"class SqlStore:\n{METHODS}" + METHODS.replace("verb", "noun"),
        f"class SqlStore:\n{METHODS}    def open(self): ...\n    def close(self): ...\n",
    ),
    "grown_medians": (rules.grown_medians, "src/a.py", "x = 1\n" * 151, "x = 1\n" * 150),
    "grown_medians_of_functions": (
        rules.grown_medians,
        "src/a.py",
        "def f():\n" + "    x = 1\n" * 10,
        "def f():\n" + "    x = 1\n" * 9,
    ),
    "environment_readers": (
        rules.environment_readers,
        "src/holdfast/a.py",
        "import os\nKEY = os.environ['KEY']\n",
        "import os\nPATH = os.path.join('environ', 'getenv')\n",
    ),
    "environment_readers_by_name": (
        rules.environment_readers,
        "src/holdfast/a.py",
        "from os import getenv\n",
        "from os import urandom\n",
    ),
    "sleeping_tests": (
        rules.sleeping_tests,
        "tests/engine/test_a.py",
        "import asyncio\nasync def test():\n    await asyncio.sleep(0.1)\n",
        "import asyncio\nasync def test(clock):\n    await asyncio.sleep(0)\n    await clock.sleep(5)\n",
    ),
    "mocking_tests": (
        rules.mocking_tests,
        "tests/engine/test_a.py",
        "from unittest.mock import AsyncMock\n",
        "from holdfast.testing.clock import ManualClock\n",
    ),
    "mocking_tests_by_module": (
        rules.mocking_tests,
        "tests/engine/test_a.py",
        "import unittest.mock\n",
        "import asyncio\n",
    ),
    "unfinished_work": (
        rules.unfinished_work,
        "docs/a.md",
        UNFINISHED,
        "# To do it well, do it once.\n",
    ),
    "machine_paths": (
        rules.machine_paths,
        "docs/a.md",
        "see " + "/home" + "/ada/notes.md\n",
        "GET /api/v1/home/ada and https://example.org/work/ada\n",
    ),
    "paths_outside": (
        rules.paths_outside,
        "docs/a.md",
        "see [notes](" + "../" * 2 + "notes.md)\n",
        "see [the readme](../README.md) ... and so on\n",
    ),
    "foreign_package_hosts": (
        rules.foreign_package_hosts,
        "uv.lock",
        'source = { registry = "https://mirror.example.org/simple" }\n',
        'registry = "https://pypi.org/simple", url = "https://files.pythonhosted.org/packages/a.whl"\n',
    ),
}


def planted(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return root


@pytest.mark.parametrize(("rule", "name", "bad", "good"), CASES.values(), ids=CASES.keys())
def test_rule_tells_bad_from_good(
    rule: Callable[[Path], list[str]], name: str, bad: str, good: str, tmp_path: Path
):
    found_in_bad = rule(planted(tmp_path / "bad", name, bad))
    found_in_good = rule(planted(tmp_path / "good", name, good))

    assert found_in_bad
    assert found_in_good == []


@pytest.mark.parametrize("stem", ["utils", "store_helper", "manager", "job_managers"])
def test_shapeless_module_is_found(stem: str, tmp_path: Path):
    root = planted(tmp_path, f"src/holdfast/{stem}.py", "")

    assert rules.shapeless_modules(root) == [f"src/holdfast/{stem}.py"]


def test_module_named_after_a_concept_passes(tmp_path: Path):
    root = planted(tmp_path, "src/holdfast/leases.py", "")

    assert rules.shapeless_modules(root) == []


def test_package_without_init_is_found_above_one_that_has_it(tmp_path: Path):
    planted(tmp_path, "src/holdfast/__init__.py", "")
    planted(tmp_path, "src/holdfast/apps/reports/__init__.py", "")

    assert rules.open_packages(tmp_path) == ["src/holdfast/apps"]


def test_complete_packages_pass_and_migrations_need_no_init(tmp_path: Path):
    planted(tmp_path, "src/holdfast/__init__.py", "")
    planted(tmp_path, "src/holdfast/migrations/versions/0001_first.py", "")

    assert rules.open_packages(tmp_path) == []


def test_migration_may_be_long(tmp_path: Path):
    source = "def upgrade():\n" + "    x = 1\n" * 60
    planted(tmp_path, "src/holdfast/store/migrations/versions/0001_first.py", source)

    assert rules.long_functions(tmp_path) == []


def test_settings_may_read_the_environment(tmp_path: Path):
    root = planted(tmp_path, "src/holdfast/settings.py", "import os\nKEY = os.environ['KEY']\n")

    assert rules.environment_readers(root) == []


def test_crash_tests_may_poll_real_processes(tmp_path: Path):
    root = planted(tmp_path, "tests/crash/test_a.py", "import time\ntime.sleep(0.1)\n")

    assert rules.sleeping_tests(root) == []


def test_failure_prints_every_median(tmp_path: Path):
    root = planted(tmp_path, "src/a.py", "x = 1\n" * 151)

    assert [finding.partition(":")[0] for finding in rules.grown_medians(root)] == list(
        rules.medians(root)
    )
