"""What the service says of itself."""

from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from jsonschema import Draft202012Validator

from tests.server.described import DESCRIPTION, PUBLIC, example_of, operations, resolved

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
OPERATIONS = {operation.name: operation for operation in operations()}

STABLE = {
    "submit_job": "post /api/v1/jobs",
    "list_jobs": "get /api/v1/jobs",
    "get_job": "get /api/v1/jobs/{job_id}",
    "cancel_job": "post /api/v1/jobs/{job_id}/cancel",
    "retry_job": "post /api/v1/jobs/{job_id}/retry",
    "fork_job": "post /api/v1/jobs/{job_id}/fork",
    "signal_job": "post /api/v1/jobs/{job_id}/signals",
    "set_budget": "put /api/v1/jobs/{job_id}/budget",
    "list_steps": "get /api/v1/jobs/{job_id}/steps",
    "get_usage": "get /api/v1/jobs/{job_id}/usage",
    "list_artifacts": "get /api/v1/jobs/{job_id}/artifacts",
    "get_artifact": "get /api/v1/jobs/{job_id}/artifacts/{name}",
    "make_token": "post /api/v1/jobs/{job_id}/tokens",
    "list_kinds": "get /api/v1/kinds",
    "list_keys": "get /api/v1/keys",
    "make_key": "post /api/v1/keys",
    "revoke_key": "delete /api/v1/keys/{key_id}",
}
"""Generated clients name their functions after these: one that is renamed breaks its users."""


def test_description_is_of_the_version_that_json_schema_is_part_of():
    assert DESCRIPTION["openapi"].startswith("3.1.")


def test_operation_ids_stay():
    found = {name: f"{each.method} {each.path}" for name, each in OPERATIONS.items()}

    assert found.items() >= STABLE.items()
    assert len(found) == len(operations())


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_described(name):
    described = OPERATIONS[name].described
    tags = {tag["name"] for tag in DESCRIPTION["tags"]}

    assert described["summary"]
    assert described["description"].endswith(".")
    assert set(described["tags"]) <= tags
    assert described["tags"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_in_the_reference(name):
    operation = OPERATIONS[name]

    place = f"`{operation.method.upper()} {operation.path.removeprefix('/api/v1')}`"
    assert place in REFERENCE.read_text()


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_wants_a_key(name):
    operation = OPERATIONS[name]

    assert operation.described.get("security") == (None if operation.path in PUBLIC else [{"key": []}])


@pytest.mark.parametrize("name", OPERATIONS)
def test_success_has_a_model_and_an_example_that_fits_it(name):
    responses = OPERATIONS[name].described["responses"]
    answers = [answer for code, answer in responses.items() if code.startswith("2")]

    assert answers
    for answer in answers:
        for content in answer.get("content", {}).values():
            example = example_of(content)
            assert example is not None
            check(example, content["schema"])


@pytest.mark.parametrize(
    "name", [name for name, each in OPERATIONS.items() if "requestBody" in each.described]
)
def test_body_has_an_example_that_fits_its_model(name):
    content = OPERATIONS[name].described["requestBody"]["content"]["application/json"]

    assert example_of(content) is not None
    check(example_of(content), content["schema"])


@pytest.mark.parametrize("name", [name for name, each in OPERATIONS.items() if each.path not in PUBLIC])
def test_failures_are_problems(name):
    responses = OPERATIONS[name].described["responses"]
    failures = {code: answer for code, answer in responses.items() if code >= "400"}

    assert {"401", "403", "413", "422", "429", "500", "503"} <= failures.keys()
    assert ("404" in failures) == ("{" in OPERATIONS[name].path)
    for answer in failures.values():
        assert list(answer["content"]) == ["application/problem+json"]
        assert resolved(answer["content"]["application/problem+json"]["schema"])["title"] == "Problem"


def check(example: object, schema: dict[str, object]) -> None:
    whole = {**schema, "components": DESCRIPTION["components"]}
    Draft202012Validator.check_schema(whole)
    try:
        Draft202012Validator(whole).validate(example)
    except jsonschema.ValidationError as error:
        pytest.fail(f"{error.json_path}: {error.message}")
