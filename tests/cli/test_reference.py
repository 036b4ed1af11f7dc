"""`docs/reference/cli.md` against the program: every command and option is there, and no other."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from holdfast.cli.exits import ExitStatus
from holdfast.cli.program import program
from tests.cli.conftest import ROOT

PAGE = (ROOT / "docs/reference/cli.md").read_text()
OPTION = re.compile(r"--[a-z][a-z-]+")


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for child_name, child in command.commands.items():
        yield from commands(child, f"{name} {child_name}")


def options_of(command: Any) -> set[str]:
    return {
        option
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }


def documented(title: str) -> set[str]:
    """Return the options in the first column of the tables of one section."""
    section = PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`-.*?`) \|", section, re.MULTILINE)
    return {option for row in rows for option in OPTION.findall(row)}


def test_every_command_is_documented_with_its_options():
    root = typer.main.get_command(program)
    found = dict(commands(root, "holdfast"))

    assert {name: documented(name) for name in found} == {
        name: options_of(command) for name, command in found.items()
    }
    assert set(re.findall(r"^## (holdfast .+)$", PAGE, re.MULTILINE)) == set(found)


def test_global_options_are_documented():
    root = typer.main.get_command(program)

    assert documented("Global options") - {"--help"} == options_of(root)


def test_every_exit_status_is_documented():
    rows = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)

    assert [int(row) for row in rows] == sorted(ExitStatus)
