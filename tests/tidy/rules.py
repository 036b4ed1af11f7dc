"""The house rules that no linter knows, each a function from a tree of files to its findings.

Every rule takes the root it looks at, so that `test_rules.py` can show it a bad tree: a check that
cannot fail checks nothing.
"""

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 8
METHODS_MAX = 15
STORE_METHODS_MAX = 25  # its verbs; whoever wires a store opens and closes it besides
PUBLIC_NAMES_MAX = 20

# The ratchet. Lower a figure when the sources have become smaller; never raise one.
FILE_LINES_MEDIAN = 150
FUNCTION_LINES_MEDIAN = 10
FUNCTION_LINES_P90 = 30

FORBIDDEN_MODULE_WORDS = ("util", "utils", "helper", "helpers", "manager", "managers", "common", "misc")
ENVIRONMENT_READERS = ("src/holdfast/settings.py", "src/holdfast/testing/")
# Real processes can only be polled; everywhere else a test waits for a signal or moves the clock.
SLEEPERS = ("tests/fleet/", "tests/crash/", "tests/process/", "tests/browser/", "tests/conftest.py")
TEXT_SUFFIXES = frozenset(
    {"", ".cfg", ".css", ".html", ".j2", ".js", ".json", ".md", ".py", ".sh", ".sql", ".toml", ".txt"}
    | {".typ", ".yaml", ".yml"}
)
PACKAGE_HOSTS = ("https://pypi.org/", "https://files.pythonhosted.org/")


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method as written, without its docstring."""

    where: str
    lines: int
    parameters: int


def tracked_files(root: Path) -> list[Path]:
    """Return what git tracks or would track; in a tree without git, every file in open sight."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        check=False,
    )
    if listed.returncode or not (root / ".git").exists():
        paths = (path for path in root.rglob("*") if path.is_file())
        return sorted(path for path in paths if "/." not in f"/{path.relative_to(root).as_posix()}")
    names = (name for name in listed.stdout.decode().split("\0") if name)
    return sorted(path for name in names if (path := root / name).is_file())


def python_files(root: Path, folder: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((root / folder).rglob("*.py")):
        yield path.relative_to(root).as_posix(), path


def parsed_files(root: Path, folder: str) -> Iterator[tuple[str, ast.Module]]:
    for name, path in python_files(root, folder):
        yield name, ast.parse(path.read_text(), name)


# --- sizes -----------------------------------------------------------------------------------


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [
        argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    ]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def functions(root: Path) -> list[Function]:
    return [
        Function(f"{name}:{node.lineno} {node.name}", _code_lines(node), _parameters(node))
        for name, tree in parsed_files(root, "src")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def file_lines(root: Path) -> dict[str, int]:
    return {name: len(path.read_text().splitlines()) for name, path in python_files(root, "src")}


def long_files(root: Path) -> list[str]:
    return [
        f"{name}: {lines} lines, at most {FILE_LINES_MAX}"
        for name, lines in file_lines(root).items()
        if lines > FILE_LINES_MAX
    ]


def long_functions(root: Path) -> list[str]:
    """Find functions over the limit; a migration is a frozen list of statements, however long."""
    return [
        f"{function.where}: {function.lines} lines without its docstring, at most {FUNCTION_LINES_MAX}"
        for function in functions(root)
        if function.lines > FUNCTION_LINES_MAX and "/migrations/versions/" not in function.where
    ]


def long_parameter_lists(root: Path) -> list[str]:
    return [
        f"{function.where}: {function.parameters} parameters, at most {PARAMETERS_MAX}; take a dataclass"
        for function in functions(root)
        if function.parameters > PARAMETERS_MAX
    ]


def _public_methods(node: ast.ClassDef) -> set[str]:
    return {
        child.name
        for child in node.body
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        # A suite's tests are called by pytest only: they are no interface.
        and not child.name.startswith(("_", "test_"))
    }


def _wide_class(name: str, node: ast.ClassDef) -> str | None:
    methods, limit = _public_methods(node), METHODS_MAX
    if "/store/" in name and node.name.endswith("Store"):
        methods, limit = methods - {"open", "close"}, STORE_METHODS_MAX
    if len(methods) <= limit:
        return None
    return f"{name}:{node.lineno} {node.name}: {len(methods)} public methods, at most {limit}"


def wide_classes(root: Path) -> list[str]:
    return [
        finding
        for name, tree in parsed_files(root, "src")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and (finding := _wide_class(name, node))
    ]


def medians(root: Path) -> dict[str, tuple[float, int]]:
    """Return the measured figures of the ratchet, each with its limit."""
    files = [lines for lines in file_lines(root).values() if lines > 1]
    lengths = sorted(function.lines for function in functions(root))
    return {
        "lines of a file, median": (statistics.median(files or [0]), FILE_LINES_MEDIAN),
        "lines of a function, median": (statistics.median(lengths or [0]), FUNCTION_LINES_MEDIAN),
        "lines of a function, 90th percentile": (
            lengths[len(lengths) * 9 // 10] if lengths else 0,
            FUNCTION_LINES_P90,
        ),
    }


def grown_medians(root: Path) -> list[str]:
    measured = medians(root)
    if all(figure <= limit for figure, limit in measured.values()):
        return []
    return [f"{what}: {figure:g}, at most {limit}" for what, (figure, limit) in measured.items()]


# --- names -----------------------------------------------------------------------------------


def shapeless_modules(root: Path) -> list[str]:
    """Find modules named after no concept; whatever lands there belongs somewhere else."""
    return [
        name
        for folder in ("src", "tests", "bench")
        for name, _ in python_files(root, folder)
        if any(
            word in FORBIDDEN_MODULE_WORDS
            for part in Path(name).with_suffix("").parts
            for word in part.split("_")
        )
    ]


def open_packages(root: Path) -> list[str]:
    """Find folders without `__init__.py`: import-linter does not see what is below them."""
    folders = {
        parent
        for name, _ in python_files(root, "src")
        for parent in Path(name).parents
        if len(parent.parts) > 1 and "migrations" not in parent.parts
    }
    return sorted(
        folder.as_posix() for folder in folders if not (root / folder / "__init__.py").is_file()
    )


# --- the machine -----------------------------------------------------------------------------


def _reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        names = {node.attr} if isinstance(node.value, ast.Name) and node.value.id == "os" else set()
    elif isinstance(node, ast.ImportFrom) and node.module == "os":
        names = {alias.name for alias in node.names}
    else:
        return False
    return bool(names & {"environ", "environb", "getenv", "getenvb"})


def environment_readers(root: Path) -> list[str]:
    return [
        f"{name}:{node.lineno} reads the environment; take it from Settings"  # type: ignore[attr-defined]
        for name, tree in parsed_files(root, "src")
        if not name.startswith(ENVIRONMENT_READERS)
        for node in ast.walk(tree)
        if _reads_environment(node)
    ]


def _is_real_sleep(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    callee = node.func
    if callee.attr != "sleep" or not isinstance(callee.value, ast.Name):
        return False
    yields_only = (
        len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
    )
    return callee.value.id in {"time", "asyncio", "anyio"} and not yields_only


def sleeping_tests(root: Path) -> list[str]:
    return [
        f"{name}:{node.lineno} sleeps; wait for a signal or move the clock"  # type: ignore[attr-defined]
        for name, tree in parsed_files(root, "tests")
        if not name.startswith(SLEEPERS)
        for node in ast.walk(tree)
        if _is_real_sleep(node)
    ]


def mocking_tests(root: Path) -> list[str]:
    """Find mocks in tests: fakes keep the promises of what they stand for."""
    return [
        f"{name}:{node.lineno} mocks; write a fake"
        for name, tree in parsed_files(root, "tests")
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("unittest", "mock")))
        or (isinstance(node, ast.Import) and any("mock" in alias.name for alias in node.names))
    ]


# --- text ------------------------------------------------------------------------------------

# Put together here, so that this file passes its own rule.
_UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b")
_MACHINE_PATH = re.compile(r"(?<![\w.~/*-])/(?:work|opt|root|home|Users|mnt)/[\w.-]+")
_UPWARDS = re.compile(r"(?<![\w.])(?:\.\./)+[\w.-]+")


def text_files(root: Path) -> Iterator[tuple[str, str]]:
    for path in tracked_files(root):
        name = path.relative_to(root).as_posix()
        if path.suffix in TEXT_SUFFIXES and path.name != "uv.lock":
            yield name, path.read_text(errors="replace")


def _matches(root: Path, pattern: re.Pattern[str], complaint: str) -> list[str]:
    return [
        f"{name}:{number} {complaint}: {match.group()}"
        for name, text in text_files(root)
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def unfinished_work(root: Path) -> list[str]:
    return _matches(root, _UNFINISHED, "is unfinished")


def machine_paths(root: Path) -> list[str]:
    """Find folders of somebody's machine; container files may name their own."""
    found = _matches(root, _MACHINE_PATH, "names a folder of one machine")
    return [finding for finding in found if not finding.startswith("deploy/")]


def paths_outside(root: Path) -> list[str]:
    """Find relative paths that lead out of the checkout, where a clone has nothing."""
    findings = []
    for name, text in text_files(root):
        for match in _UPWARDS.finditer(text):
            depth = len(Path(name).parts) - 1
            if match.group().count("../") > depth:
                findings.append(f"{name}: leads out of the checkout: {match.group()}")
    return findings


def foreign_package_hosts(root: Path) -> list[str]:
    """Find packages that the lock would fetch from a host of one machine's configuration."""
    sources = re.findall(r'\b(?:registry|url) = "([^"]+)"', (root / "uv.lock").read_text())
    return sorted({source for source in sources if not f"{source}/".startswith(PACKAGE_HOSTS)})
