"""What `holdfast.errors` says against what `docs/errors.md` says."""

import inspect
import re
from collections import Counter
from types import ModuleType

from holdfast.errors import HoldfastError

# | <a id="job_not_found"></a>`job_not_found` | `JobNotFoundError` | meaning | what to do |
_ROW = re.compile(
    r'^\| <a id="(?P<anchor>\w+)"></a>`(?P<code>\w+)` \| `(?P<name>\w+)` \|(?P<rest>.+)\|$', re.MULTILINE
)


def error_classes(module: ModuleType) -> list[type[HoldfastError]]:
    """Return the errors that `module` defines itself, in source order."""
    return [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, HoldfastError)
        and member.__module__.startswith(module.__name__)
    ]


def code_findings(classes: list[type[HoldfastError]]) -> list[str]:
    inherited = [f"{cls.__name__} has no code of its own" for cls in classes if "code" not in vars(cls)]
    counted = Counter(vars(cls).get("code") for cls in classes)
    return inherited + [
        f"code {code!r} is used {count} times" for code, count in counted.items() if code and count > 1
    ]


def page_findings(classes: list[type[HoldfastError]], page: str) -> list[str]:
    rows = {match["code"]: match for match in _ROW.finditer(page)}
    codes = {cls.code: cls.__name__ for cls in classes}
    return [
        *(f"{name} ({code}) has no row" for code, name in codes.items() if code not in rows),
        *(f"row {code!r} belongs to no error" for code in rows if code not in codes),
        *(
            f"row {code!r} names {row['name']} under anchor {row['anchor']!r}"
            for code, row in rows.items()
            if code in codes and (row["name"], row["anchor"]) != (codes[code], code)
        ),
        *(
            f"row {code!r} leaves a column empty"
            for code, row in rows.items()
            if not all(cell.strip() for cell in row["rest"].split("|"))
        ),
    ]


def tree_findings(classes: list[type[HoldfastError]], drawing: str) -> list[str]:
    drawn = set(re.findall(r"\w+", drawing))
    return [f"{cls.__name__} is not drawn" for cls in classes if cls.__name__ not in drawn]
