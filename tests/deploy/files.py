"""What the files in `deploy` say, and what Holdfast itself says about the same things."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml  # type: ignore[import-untyped]
from pydantic import AliasChoices

from holdfast.cli.program import program
from holdfast.settings import Settings
from holdfast.wiring import default_app

DEPLOY = Path(__file__).parents[2] / "deploy"
ROOT = DEPLOY.parent

TEARDOWN_SECONDS = 6.0
"""How long a worker may take after the grace period: twice what `engine.worker` allows for teardown."""


@cache
def compose() -> dict[str, Any]:
    """Return the compose file with its anchors followed; `${…}` is left as it is."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def services(*, ours: bool | None = None) -> dict[str, dict[str, Any]]:
    """Return the services by name; only those that run our image, or only the others."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return {name: body for name, body in found.items() if ours in {None, "build" in body}}


def manifests(pattern: str = "*.yaml") -> list[dict[str, Any]]:
    """Return the Kubernetes objects in files of this name, in their order."""
    return [
        body
        for path in sorted((DEPLOY / "kubernetes").glob(pattern))
        for body in yaml.safe_load_all(path.read_text())
    ]


def by_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the Kubernetes objects of a kind by name."""
    return {body["metadata"]["name"]: body for body in manifests() if body["kind"] == kind}


def dockerfile(instruction: str) -> list[str]:
    """Return what follows each of these instructions; continued lines are one."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return [
        " ".join(found.split()) for found in re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)
    ]


def setting_variables() -> set[str]:
    """Return every environment variable that is a setting."""
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else (f"HOLDFAST_{name.upper()}",)
        names.update(map(str, choices))
    return names


def kind_queues() -> list[str]:
    """Return the queues of the built-in kinds and of Holdfast's own, each once."""
    return list(default_app(Settings(provider="scripted")).registry.queues)


def parsed(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the command that a command line means and its options, without running it.

    Raises:
        Exception: Of the parser; the program would refuse it.
    """
    command: Any = typer.main.get_command(program)
    context = command.make_context("holdfast", list(arguments))
    name, words = "holdfast", [*context._protected_args, *context.args]
    while hasattr(command, "resolve_command"):
        part, command, words = command.resolve_command(context, words)
        context = command.make_context(part, words, parent=context)
        words = [*getattr(context, "_protected_args", []), *context.args]
        name = f"{name} {part}"
    return name, context.params


def seconds(span: str) -> float:
    """Return the length of a span such as `45s`."""
    return float(span.removesuffix("s"))


def interpolated(value: Any) -> Iterator[tuple[str, str]]:
    """Give each `${NAME…}` of a compose file as its name and what follows it; `$$` is a plain dollar."""
    if isinstance(value, dict):
        for item in value.values():
            yield from interpolated(item)
    elif isinstance(value, list):
        for item in value:
            yield from interpolated(item)
    elif isinstance(value, str):
        yield from re.findall(r"\$\{(\w+)([^}]*)\}", value.replace("$$", ""))
