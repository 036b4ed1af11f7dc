import dataclasses
import functools
import math
import typing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import codec
from holdfast.codec import decode_value, encode_value, from_json, parameter_types, return_type, to_json
from holdfast.errors import CheckpointTypeError, UnserializableValueError, ValueTooLargeError

if typing.TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Page(pydantic.BaseModel):
    title: str
    words: int = 0
    at: datetime | None = None


class Book(pydantic.BaseModel):
    pages: list[Page]
    price: Decimal


class Draft(Page):
    notes: str = ""


@dataclasses.dataclass
class Point:
    x: float
    y: float


@dataclasses.dataclass
class Opaque:
    anything: "Handle"


class Handle:
    pass


def round_trip(value, annotation=None):
    text, type_name = encode_value(value, annotation, what="it")
    return decode_value(text, annotation, type_name, what="it")


def typed() -> list[Page]:
    return []


def unresolvable() -> "Unknown":
    return None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


def same(first, second):
    """Equal, and of equal types all the way down."""
    if type(first) is not type(second):
        return False
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return first == second


@given(json_values)
def test_json_values_come_back_as_they_went_in(value):
    assert same(round_trip(value), value)


@given(json_values)
def test_json_values_come_back_through_a_plain_annotation(value):
    assert same(round_trip(value, Any), value)


@given(
    st.lists(
        st.builds(Page, title=st.text(st.characters(exclude_categories=["Cs"])), words=st.integers())
    )
)
def test_models_in_containers_come_back_typed(pages):
    assert round_trip(pages, list[Page]) == pages


@given(st.floats(), st.floats())
def test_point_comes_back_or_is_refused(x, y):
    point = Point(x, y)
    try:
        found = round_trip(point)
    except UnserializableValueError:
        assert not (math.isfinite(x) and math.isfinite(y))
    else:
        assert found == point


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Page(title="t"), None),
        (Page(title="t"), Page),
        (Book(pages=[Page(title="t")], price=Decimal("1.10")), Book),
        (Point(1, 2), None),
        ({1: (Point(1, 2), {"a"})}, dict[int, tuple[Point, set[str]]]),
        (None, Page | None),
        ("a", Literal["a", "b"]),
        (timedelta(seconds=5), timedelta),
        (b"text", bytes),
        ([1, "a", None], list[int | str | None]),
        ({"a": [1]}, dict[str, list[int]]),
        ({}, dict),
        (5, typing.TypeVar("T")),
        (Page(title="t"), typing.Awaitable[Page]),  # what Pydantic does not know: the value's own type
    ],
    ids=repr,
)
def test_value_comes_back_equal_and_of_its_type(value, annotation):
    found = round_trip(value, annotation)

    assert found == value
    assert type(found) is type(value)


def hoard():
    endless: list[Any] = []
    endless.append(endless)
    return endless


def local_model():
    class Local(pydantic.BaseModel):
        x: int = 1

    return Local()


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (math.nan, None, "holds nan"),
        ([-math.inf], None, "holds -inf"),
        (2**63, None, "integer beyond 64 bits"),
        ((1, 2), None, r"holds a builtins.tuple.*annotate"),
        ({"a": {1}}, dict[str, Any], "holds a builtins.set"),
        ({1: "a"}, None, "keys that are not strings"),
        ({(1, 2): "a"}, None, "keys that are not strings"),
        ("\udcff", None, "lone surrogate"),
        (["\ud800"], None, "lone surrogate"),
        (hoard(), None, "holds itself"),
        (local_model(), None, "a later attempt could not rebuild"),
        (Opaque(Handle()), None, "a later attempt could not rebuild"),
        (Draft(title="t", notes="n"), Page, "has no JSON form|would come back different"),
        (Point(math.nan, 1), None, "has no JSON form"),
        ("text", Page, "has no JSON form of its declared type"),
        ([1, "a"], list[Page], "has no JSON form of its declared type"),
        (b"\xff", bytes, "has no JSON form"),
        (Handle(), None, "Handle, which JSON does not have"),
        (Handle(), Handle, "Handle, which JSON does not have"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
)
def test_value_that_would_not_come_back_is_refused(value, annotation, message):
    with pytest.raises(UnserializableValueError, match=message):
        encode_value(value, annotation, what="it")


def test_value_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(codec, "VALUE_BYTES_MAX", 10)

    assert encode_value("x" * 8, None, what="it")[0] == b'"xxxxxxxx"'
    with pytest.raises(ValueTooLargeError, match="it is 11 bytes of JSON, the limit is 10"):
        encode_value("x" * 9, None, what="it")


def test_type_that_changed_since_is_told_without_the_value():
    with pytest.raises(CheckpointTypeError, match=r"title: Field required") as caught:
        decode_value(b'{"name":"secret"}', Page, None, what="it")

    assert "secret" not in str(caught.value)


def test_todays_annotation_comes_before_the_stored_type():
    assert decode_value(b'{"title":"t"}', Draft, f"{__name__}:Page", what="it") == Draft(title="t")


@pytest.mark.parametrize(
    "name", ["no.module:Page", f"{__name__}:Gone", f"{__name__}:round_trip", "os:system", "x"]
)
def test_stored_type_that_is_gone_is_told(name):
    """Nothing is imported because stored data says so."""
    with pytest.raises(CheckpointTypeError, match="is not among the imported modules"):
        decode_value(b"{}", None, name, what="it")


def test_invalid_input_is_described_briefly():
    class Wide(pydantic.BaseModel):
        a: int
        b: int
        c: int
        d: int
        e: int
        f: int
        g: int

    with pytest.raises(pydantic.ValidationError) as caught:
        Wide()  # type: ignore[call-arg]

    told = codec.describe_invalid(caught.value)
    assert told.startswith("a: Field required; b: ")
    assert told.endswith("(and 2 more)")


def test_return_type_looks_through_partials_and_methods():
    class Holder:
        def method(self) -> Page:
            raise NotImplementedError

    assert return_type(functools.partial(functools.partial(typed))) == list[Page]
    assert return_type(Holder().method) is Page
    assert return_type(lambda: 1) is None
    assert return_type(len) is None
    assert return_type(unresolvable) is None


def test_parameter_types_leave_out_what_cannot_be_resolved():
    def function(first: int, second: Page) -> str:
        raise NotImplementedError

    assert parameter_types(function) == {"first": int, "second": Page}
    assert parameter_types(unresolvable) == {}


def test_records_of_the_engine_are_plain_json():
    assert from_json(to_json({"a": [1, None]})) == {"a": [1, None]}
