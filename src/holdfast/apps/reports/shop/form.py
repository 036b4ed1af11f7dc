"""The form on which a report is ordered: what was typed, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import EmailStr, TypeAdapter, ValidationError

from holdfast.apps.reports.orders.models import EMAIL_CHARACTERS_MAX
from holdfast.apps.reports.requests import InvalidReportError
from holdfast.apps.reports.shop.rendering import texts
from holdfast.ids import content_hash, new_id

NAME_CHARACTERS_MAX: Final = 200

_EMAIL: Final[TypeAdapter[str]] = TypeAdapter(EmailStr)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


@dataclass(slots=True, kw_only=True)
class OrderForm:
    """What a person has typed so far."""

    name: str = ""
    born: str = ""
    time: str = ""
    time_unknown: bool = False
    place: str = ""
    choice: str = ""
    """One of the places that were offered."""
    email: str = ""
    nonce: str = field(default_factory=lambda: new_id("form"))
    """Tells this form from others, so that sending it twice orders once."""
    wrong: dict[str, str] = field(default_factory=dict)
    """What to type instead, by field."""
    suggestions: tuple[str, ...] = ()
    """Places that may be meant."""
    trouble: str = ""
    """Why nothing could be ordered though everything is right."""

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> OrderForm:
        """Return what a form was sent with."""
        typed = ("name", "born", "time", "place", "choice", "email", "nonce")
        form = cls(time_unknown=bool(fields.get("time_unknown")))
        for name in typed:
            if fields.get(name):
                setattr(form, name, fields[name])
        return form

    @property
    def key(self) -> str:
        """What makes sending the same twice one order, and a corrected form another."""
        typed = (self.name, self.born, self.time, self.time_unknown, self.place, self.choice)
        return f"{self.nonce[:80]}:{content_hash(repr(typed).encode())}"

    def check(self) -> bool:
        """Note what is wrong as far as can be told by looking; whether nothing is."""
        said = texts()["wrong"]
        if not self.name:
            self.wrong["name"] = said["name"]
        elif len(self.name) > NAME_CHARACTERS_MAX:
            self.wrong["name"] = said["name_long"]
        if not _DATE.fullmatch(self.born):
            self.wrong["born"] = said["born"]
        if not self.time_unknown and not _CLOCK.fullmatch(self.time):
            self.wrong["time"] = said["born_time"]
        if not (self.place or self.choice):
            self.wrong["place"] = said["place"]
        if not _is_address(self.email):
            self.wrong["email"] = said["email"]
        return not self.wrong

    def order(self) -> dict[str, Any]:
        """Return what is ordered, as `ordering.place_order` takes it."""
        clock = "" if self.time_unknown else f" {self.time[:5].rstrip(':')}"
        return {
            "email": self.email,
            "name": self.name,
            "born": f"{self.born}{clock}",
            "place": self.choice or self.place,
            "key": self.key,
        }

    def blame(self, error: InvalidReportError) -> None:
        """Note what could only be found out by casting the chart."""
        said = texts()["wrong"]
        self.wrong[error.field] = said.get(error.reason) or said.get(error.field) or error.message
        self.suggestions = error.suggestions
        self.choice = ""


def _is_address(text: str) -> bool:
    try:
        _EMAIL.validate_python(text)
    except ValidationError:
        return False
    return len(text) <= EMAIL_CHARACTERS_MAX
