"""Finds out on whose behalf a request comes, and whether that may do what it asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from holdfast.errors import AccessDeniedError, JobNotFoundError, NotAuthenticatedError
from holdfast.server.access import (
    OPERATOR,
    Action,
    Principal,
    key_id_of,
    principal_in_force,
    principal_of,
)
from holdfast.server.origins import SAFE_METHODS, is_local, refuse_foreign
from holdfast.server.service import service_of
from holdfast.server.tokens import JOB_TOKEN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from holdfast.model import Job
    from holdfast.server.service import Service
    from holdfast.store.service import ApiKey

TOKEN_ACTIONS = frozenset({Action.READ, Action.CONTENT})
"""What the holder of a job's token may do with that job."""

_JOB_ID = re.compile(r"job_[0-9A-HJKMNP-TV-Z]{26}")
_SHOWN_CHARACTERS = 80

SESSION_COOKIE = "holdfast_session"


async def authenticate(connection: HTTPConnection) -> Principal:
    """Return who is asking: by `Authorization: Bearer`, the console's cookie, or `?token=` for one job.

    Raises:
        NotAuthenticatedError: Nobody known, or a key that is no longer good.
    """
    service = service_of(connection)
    given = given_key(connection)
    if given is not None:
        found = await find_principal(service, given)
        if found is None:
            raise NotAuthenticatedError("the key is unknown, expired or revoked")
        return found
    if SESSION_COOKIE in connection.cookies:
        found = await find_session(service, connection.cookies[SESSION_COOKIE])
        if found is not None:
            # Browsers send the cookie along, whatever page has asked them to.
            if connection.scope.get("method", "GET") not in SAFE_METHODS:
                refuse_foreign(connection, "act by the console's cookie")
            return found
    if service.options.open_access and is_local(connection):
        return OPERATOR
    raise NotAuthenticatedError("the request carries no key")


def given_key(connection: HTTPConnection) -> str | None:
    """Return the key or token that the caller sent on purpose; a cookie is sent by any page.

    Raises:
        NotAuthenticatedError: A key stands in the URL, which proxies write into their logs.
    """
    given = bearer_of(connection)
    if given is not None:
        return given
    token = connection.query_params.get("token")
    if token is not None and not token.startswith(JOB_TOKEN_PREFIX):
        raise NotAuthenticatedError("what stands as 'token' in the URL is no token for a job")
    return token


async def find_principal(service: Service, given: str) -> Principal | None:
    """Return whom a key or a job's token stands for; None if it is not good."""
    job_id = service.tokens.read_job(given)
    if job_id is not None:
        return Principal(name="token", actions=TOKEN_ACTIONS, job_id=job_id)
    key_id = key_id_of(given)
    if key_id is None:
        return None
    found = principal_of(given, await service.records.find_key(key_id), service.clock.now())
    if found is not None:
        service.good_keys.remember(given, found.name)
    return found


def session_of(service: Service, key: ApiKey, lifetime: timedelta) -> str:
    """Return a cookie for a console session: it names the key, does not hold it, and ends with it."""
    return service.tokens.sign("session", [key.key_id, key.digest.hex()[:32]], lifetime)


async def find_session(service: Service, cookie: str) -> Principal | None:
    """Return whom a session's cookie stands for; None if it is not good or its key no longer is."""
    named = service.tokens.read("session", cookie)
    if named is None:
        return None
    key_id, mark = named
    key = await service.records.find_key(key_id)
    if key is None or key.digest.hex()[:32] != mark:
        return None
    return principal_in_force(key, service.clock.now())


class _Bearer(HTTPBearer):
    """Says in the OpenAPI that a route wants a key; the looking is done by `authenticate`."""

    async def __call__(self, connection: HTTPConnection) -> None:
        return None


bearer_scheme = _Bearer(
    scheme_name="key",
    description="A key of `holdfast keys new` or `POST /api/v1/keys`, or a job's token."
    " On loopback none is needed unless `HOLDFAST_AUTH=required`.",
)
"""What routes that look for a key by themselves depend on, for the description."""


def allowed(action: Action, *, one_job: bool = True) -> Callable[..., Awaitable[Principal]]:
    """Return a dependency that gives the principal if it may do `action`.

    Args:
        action: What the route does.
        one_job: Whether who may see only one job, by its token, may do it to that one.
    """

    async def check(connection: HTTPConnection, _: Annotated[None, Depends(bearer_scheme)]) -> Principal:
        return await permitted(connection, action, one_job=one_job)

    return check


async def permitted(connection: HTTPConnection, action: Action, *, one_job: bool = True) -> Principal:
    """Return who is asking if it may do `action`; see `allowed`.

    Raises:
        NotAuthenticatedError: Nobody known, or a key that is no longer good.
        AccessDeniedError: It may not.
    """
    principal = await authenticate(connection)
    if action not in principal.actions or not (one_job or principal.job_id is None):
        raise AccessDeniedError(name=principal.name, action=action.value)
    return principal


Submitter = Annotated[Principal, Depends(allowed(Action.SUBMIT))]
Reader = Annotated[Principal, Depends(allowed(Action.READ))]
Lister = Annotated[Principal, Depends(allowed(Action.READ, one_job=False))]
ContentReader = Annotated[Principal, Depends(allowed(Action.CONTENT))]
ContentOwner = Annotated[Principal, Depends(allowed(Action.CONTENT, one_job=False))]
Controller = Annotated[Principal, Depends(allowed(Action.CONTROL))]
WebhookOwner = Annotated[Principal, Depends(allowed(Action.WEBHOOKS))]
Admin = Annotated[Principal, Depends(allowed(Action.ADMIN))]


def is_job_id(text: str) -> bool:
    """Whether a text has the form of a job's id."""
    return _JOB_ID.fullmatch(text) is not None


async def reach(service: Service, principal: Principal, job_id: str) -> Job:
    """Return the job if the principal reaches it.

    Raises:
        JobNotFoundError: There is none, or it is somebody else's: which of both is not told.
    """
    if not is_job_id(job_id):
        raise JobNotFoundError(job_id=job_id[:_SHOWN_CHARACTERS])
    job = await service.store.get_job(job_id)
    if not principal.sees(job):
        raise JobNotFoundError(job_id=job_id)
    return job


def bearer_of(connection: HTTPConnection) -> str | None:
    """Return what stands as `Authorization: Bearer`; None without it."""
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    return given.strip() or None if scheme.lower() == "bearer" else None
