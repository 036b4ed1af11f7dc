"""What the pages say, taken apart: their programs, links and tables."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

REST = "page.py"
"""Blocks that name no file are one program, in the order of the page."""

_FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"\A# (?P<name>\w+\.py)\n")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
_ANCHOR = re.compile(r'<a id="(?P<id>[^"]+)">')
_ROW = re.compile(r"^\|(?P<cells>.+)\|\s*$", re.MULTILINE)
_PROVIDER_VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL")


def pages(root: Path = ROOT) -> list[Path]:
    """Return every page for readers: those at the top and all of `docs`."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def programs(page: str) -> dict[str, str]:
    """Return the Python programs of a page by file name.

    A block whose first line is `# name.py` is that file; all others together are `page.py`.
    """
    found: dict[str, str] = {}
    for block in _FENCE.finditer(page):
        if block["language"] not in {"python", "py"}:
            continue
        named = _FILE_NAME.match(block["text"])
        name = named["name"] if named else REST
        found[name] = found[name] + "\n\n" + block["text"] if name in found else block["text"]
    return found


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`, offline, with nothing of this machine's settings."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def environment() -> dict[str, str]:
    """Return this process's environment without anything that would steer Holdfast."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HOLDFAST_") and name not in _PROVIDER_VARIABLES
    }
    # The plugins of this repository's own tests would take longer to load than a page's tests to run.
    return {**kept, "PYTHONWARNINGS": "default", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run_programs(found: dict[str, str], folder: Path) -> list[str]:
    """Write the programs to `folder`, run each, and return what went wrong; tests go to pytest."""
    for name, text in found.items():
        (folder / name).write_text(text)
    tests = [name for name in found if name.startswith("test_")]
    failed = [
        f"{name}: {ended.stderr}"
        for name in found
        if name not in tests and (ended := run([name], folder)).returncode
    ]
    if tests:
        ended = run(["-m", "pytest", *_PYTEST_OPTIONS, *tests], folder)
        if ended.returncode:
            failed.append(f"{', '.join(tests)}: {ended.stdout}")
    return failed


_PYTEST_OPTIONS = (
    *("-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-W", "error"),
    *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
)


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere, and anchors that are not there."""
    return [target for target in _relative_links(page.read_text()) if not _resolves(page, target)]


def _relative_links(text: str) -> Iterator[str]:
    for link in _LINK.finditer(_FENCE.sub("", text)):
        if not re.match(r"[a-z]+:", link["target"]):
            yield link["target"]


def _resolves(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    if not file.exists():
        return False
    return not anchor or (file.suffix == ".md" and anchor in _anchors(file.read_text()))


def _anchors(text: str) -> set[str]:
    headings = {
        re.sub(r"[^\w\- ]", "", heading["text"].lower()).strip().replace(" ", "-")
        for heading in _HEADING.finditer(text)
    }
    return headings | {anchor["id"] for anchor in _ANCHOR.finditer(text)}


def table(page: str, head: str) -> list[list[str]]:
    """Return the rows of the table whose first column is called `head`, below its rule."""
    rows = [[cell.strip() for cell in row["cells"].split("|")] for row in _ROW.finditer(page)]
    begin = next(index for index, row in enumerate(rows) if row[0] == head)
    width = len(rows[begin])
    body: list[list[str]] = []
    for row in rows[begin + 2 :]:
        if len(row) != width or set(row[0]) == {"-"}:
            break
        body.append(row)
    return body


def quoted(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def copy_home(prepared: Path, folder: Path) -> None:
    """Spare a program the making of its tables, which is most of what a short one does."""
    shutil.copytree(prepared, folder / ".holdfast")
