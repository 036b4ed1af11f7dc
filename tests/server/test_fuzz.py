"""Schemathesis on every operation of the OpenAPI: no 5xx, and answers that fit what is described."""

import asyncio
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server.described import DESCRIPTION, operations

CHECKS = [
    *(not_a_server_error, status_code_conformance, content_type_conformance),
    *(response_headers_conformance, response_schema_conformance),
]
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
EXAMPLES = 15


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(operation.name, mode, id=f"{operation.name}-{mode.value}")
        for operation in operations()
        for mode in GenerationMode
        # What takes nothing cannot be given anything wrong.
        if mode is GenerationMode.POSITIVE or operation.takes
    ],
)
async def test_operation_answers_whatever_comes(running, harness, name, mode):
    operation = SCHEMA.find_operation_by_id(name)
    await harness.start_worker()
    known = await harness.submit("greet", "ada")
    await harness.end_of(known)
    key = await running.key()

    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode), at_known_job=strategies.booleans()
    )
    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def attack(case: Any, *, at_known_job: bool) -> None:
        if at_known_job and "job_id" in case.path_parameters:
            case.path_parameters["job_id"] = known
        headers = {**case.headers, "Authorization": f"Bearer {key}"}
        answer = case.call(base_url=running.url, session=session, headers=headers, timeout=10)
        case.validate_response(answer, checks=CHECKS)

    with requests.Session() as session:
        session.trust_env = False
        await asyncio.to_thread(attack)
