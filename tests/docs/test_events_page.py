"""`docs/reference/events.md` has every event that code emits, with its fields, and no other."""

import ast
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast import JobContext, JobStatus, RetryLaterError
from holdfast.testing.clock import ManualClock
from holdfast.testing.harness import Harness
from tests.docs.pages import ROOT, quoted, table

PAGE = (ROOT / "docs" / "reference" / "events.md").read_text()
EMITTERS = [ROOT / "src" / "holdfast" / part for part in ("engine", "store", "llm")]
TERMINAL = tuple(status.value for status in JobStatus if status.terminal)

_NAME = re.compile(r"(job|attempt|step|output|signal|budget|artifact|child)\.[a-z_]+")
_WITHOUT_VERB = {"progress", "usage"}
_EMITTING = {"emit", "_emit", "add_event"}


def documented(page: str) -> dict[str, set[str]]:
    return {quoted(name)[0]: set(quoted(fields)) for name, fields, _ in table(page, "event")}


def emitted(*folders: Path) -> set[str]:
    """Return every event name in the code: by its form, or as an argument of what emits."""
    found: set[str] = set()
    for folder in folders:
        for path in folder.rglob("*.py"):
            found |= _names(ast.parse(path.read_text()))
    return found


def _names(tree: ast.AST) -> set[str]:
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            if _NAME.fullmatch(node.value):
                found.add(node.value)
        elif isinstance(node, ast.JoinedStr) and ast.unparse(node).startswith("f'job.{"):
            found |= {f"job.{status}" for status in TERMINAL}
        elif isinstance(node, ast.Call) and _called(node) in _EMITTING:
            values = {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
            found |= {name for name in _WITHOUT_VERB if name in values}
    return found


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def test_every_event_that_code_emits_is_documented_and_no_other():
    assert set(documented(PAGE)) == emitted(*EMITTERS)


@pytest.fixture
async def harness(tmp_path):
    async with Harness(tmp_path, clock=ManualClock()) as harness:
        yield harness


def undo(item: str) -> None:
    """Take nothing back."""


def test_every_field_is_named_once():
    rows = [quoted(fields) for _, fields, _ in table(PAGE, "event")]

    assert [names for names in rows if len(names) != len(set(names))] == []


async def test_events_of_a_failed_job_carry_the_documented_fields(harness):
    tries = []

    def once_more(item):
        tries.append(item)
        if len(tries) == 1:
            raise RetryLaterError("not yet", retry_after=timedelta())

    async def fail(job: JobContext):
        await job.map("item", ["a"], once_more, undo=undo)
        await job.wait_for("go")
        raise ValueError("over")

    harness.job("fail", fail)
    await harness.start_worker()
    job_id = await harness.submit("fail")
    await harness.until(job_id, JobStatus.SUSPENDED)
    await harness.client.signal(job_id, "go")
    await harness.end_of(job_id)

    told = {event.type: set(json.loads(event.data)) async for event in harness.client.events(job_id)}

    assert told == {name: documented(PAGE)[name] for name in told}
    assert {"step.retrying", "progress", "signal.received", "job.suspended", "job.failed"} <= set(told)


# the check itself


def test_names_in_code_are_found(tmp_path):
    (tmp_path / "code.py").write_text(
        '"""job.imagined is only written of."""\n'
        'attempt.emit("progress", {})\n'
        'tx.append("tide.turned", "job.turned")\n'
        'kind = f"job.{status}"\n'
        'usage = "usage"\n'
    )

    assert emitted(tmp_path) == {"progress", "job.turned", *(f"job.{status}" for status in TERMINAL)}


def test_names_and_fields_on_the_page_are_found():
    page = "| event | data | when |\n|---|---|---|\n| `job.turned` | `tide`, `at` | Twice a day. |\n"

    assert documented(page) == {"job.turned": {"tide", "at"}}
