"""`docs/reference/settings.md` has every setting with its default, and no other."""

from typing import Any

from pydantic import AliasChoices, BaseModel, Field

from holdfast.settings import Settings
from tests.docs.pages import ROOT, quoted, table

PAGE = ROOT / "docs" / "reference" / "settings.md"


def settings_findings(settings: type[BaseModel], page: str) -> list[str]:
    """Return where the page's table and the settings differ."""
    documented = {tuple(quoted(names)): default for names, default, _ in table(page, "variable")}
    known = {
        _variables(name, field): _shown(field.default) for name, field in settings.model_fields.items()
    }
    return [
        *(f"{names} is not documented" for names in known if names not in documented),
        *(f"{names} is no setting" for names in documented if names not in known),
        *(
            f"{names} has the default {known[names]}, the page says {said}"
            for names, said in documented.items()
            if names in known and known[names] != said
        ),
    ]


def _variables(name: str, field: Any) -> tuple[str, ...]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(map(str, alias.choices))
    return (f"HOLDFAST_{name.upper()}",)


def _shown(default: object) -> str:
    if default is None:
        return "unset"
    return f"`{default}`" if default != "" else "empty"


def test_every_setting_is_documented_with_its_default():
    assert settings_findings(Settings, PAGE.read_text()) == []


# the check itself

_HEAD = "| variable | default | what it does |\n|---|---|---|\n"


class _Tides(BaseModel):
    tide: str = "low"
    moon: str | None = Field(default=None, validation_alias=AliasChoices("HOLDFAST_MOON", "MOON"))


def test_setting_without_a_row_and_row_without_a_setting_are_found():
    page = _HEAD + "| `HOLDFAST_TIDE` | `low` | Height. |\n| `HOLDFAST_EBB` | empty | Gone. |\n"

    assert settings_findings(_Tides, page) == [
        "('HOLDFAST_MOON', 'MOON') is not documented",
        "('HOLDFAST_EBB',) is no setting",
    ]


def test_wrong_default_is_found():
    page = _HEAD + "| `HOLDFAST_TIDE` | `high` | |\n| `HOLDFAST_MOON`, `MOON` | unset | |\n"

    assert settings_findings(_Tides, page) == [
        "('HOLDFAST_TIDE',) has the default `low`, the page says `high`"
    ]
