"""What `import holdfast` offers stays small."""

from types import ModuleType

import holdfast
from tests.tidy.rules import PUBLIC_NAMES_MAX


def public_names(module: ModuleType) -> list[str]:
    """Return `__all__`, or what a reader would take for public where there is none."""
    declared = getattr(module, "__all__", None)
    if declared is not None:
        return list(declared)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    ]


def test_public_names_are_few():
    assert len(public_names(holdfast)) <= PUBLIC_NAMES_MAX


def test_public_names_are_there_and_named_once():
    names = public_names(holdfast)

    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(holdfast, name)] == []


def test_undeclared_names_count_as_public():
    module = ModuleType("sample")
    vars(module).update(App=object, ast=ModuleType("ast"), _hidden=1)

    assert public_names(module) == ["App"]
