"""From a type to a schema and from an answer to a value."""

import contextlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from holdfast.errors import InvalidResponseError
from holdfast.llm.providers.sample import SampleWriter
from holdfast.llm.structured import output_type


class Answer(BaseModel):
    question: str = Field(max_length=200)
    answer: str = Field(min_length=10)


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float = Field(gt=0, le=5)


class Square(BaseModel):
    kind: Literal["square"]
    side: int = Field(ge=3, lt=9)


class Chapter(BaseModel):
    title: str = "untitled"
    answers: list[Answer] = Field(min_length=2, max_length=4)
    mood: Literal["calm", "bright"]
    shape: Annotated[Circle | Square, Field(discriminator="kind")]
    note: str | None = None


class Tree(BaseModel):
    name: str
    children: list["Tree"]


class Free(BaseModel):
    anything: dict[str, Any]


@dataclass
class Point:
    x: int
    y: int


def test_schema_obeys_the_rules_of_strict_mode():
    schema = output_type(Chapter).schema

    assert schema.strict
    assert schema.schema["required"] == ["title", "answers", "mood", "shape", "note"]
    assert schema.schema["additionalProperties"] is False
    assert "minLength" not in json.dumps(schema.schema)
    assert "oneOf" not in json.dumps(schema.schema)
    assert schema.schema["$defs"]["Answer"]["additionalProperties"] is False


@pytest.mark.parametrize("target", [Free, list[dict[str, int]], tuple[int, str], list[Any]])
def test_schema_that_strict_mode_cannot_say_is_sent_as_it_is(target):
    schema = output_type(target).schema

    assert not schema.strict
    assert schema.schema["type"] == "object"


@pytest.mark.parametrize(
    "target", [Chapter, Tree, Free, Point, list[int], list[Answer], int, str, tuple[int, str]]
)
@pytest.mark.parametrize("seed", range(5))
def test_sample_writer_fits_every_schema(target, seed):
    parser = output_type(target)

    parser.parse(json.dumps(SampleWriter(str(seed)).value(parser.schema.schema)))


def test_same_seed_writes_the_same_sample():
    assert SampleWriter("a").text() == SampleWriter("a").text()
    assert SampleWriter("a").text() != SampleWriter("b").text()
    assert SampleWriter("a").text().startswith("[sample]")


def test_type_is_built_once():
    assert output_type(Chapter) is output_type(Chapter)


def test_root_that_is_no_object_is_wrapped_and_unwrapped():
    assert output_type(list[int]).parse('{"value": [1, 2]}') == [1, 2]
    assert output_type(list[int]).parse("[1, 2]") == [1, 2]
    assert output_type(Point).parse('{"x": 1, "y": 2}') == Point(1, 2)


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "```\n{}\n```", " ```JSON\n{}```\n"])
def test_fenced_answers_are_tolerated(fence):
    answer = json.dumps({"x": 1, "y": 2})

    assert output_type(Point).parse(
        fence.format(answer) if "{}" not in fence else fence.replace("{}", answer)
    ) == Point(1, 2)


def test_error_names_places_and_kinds_and_never_the_text():
    spoilt = {
        "title": "secret text",
        "answers": [{"question": 7, "answer": "secret"}],
        "hidden key": 1,
    }

    with pytest.raises(InvalidResponseError) as caught:
        output_type(Chapter).parse(json.dumps(spoilt))

    message = str(caught.value)
    assert "answers.0.question string_type" in message
    assert "mood missing" in message
    assert "secret" not in message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_error_hides_keys_that_only_the_model_chose():
    with pytest.raises(InvalidResponseError) as caught:
        output_type(dict[str, int]).parse('{"secret": "x"}')

    assert "secret" not in str(caught.value)
    assert "* int_parsing" in str(caught.value)


def test_numbers_that_json_does_not_have_are_refused():
    with pytest.raises(InvalidResponseError, match="not JSON"):
        output_type(list[float]).parse("[NaN]")


def test_many_errors_are_counted():
    with pytest.raises(InvalidResponseError, match="and 12 more"):
        output_type(list[int]).parse(json.dumps(["x"] * 20))


@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_an_invalid_response(text):
    with contextlib.suppress(InvalidResponseError):
        output_type(Chapter).parse(text)


def test_invalid_response_is_retried_under_the_limit_of_malformed_output():
    assert InvalidResponseError.transient
    assert InvalidResponseError.malformed
