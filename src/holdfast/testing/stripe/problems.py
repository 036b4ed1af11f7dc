"""Errors as Stripe's API tells them."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal with its status and the fields of Stripe's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        fields = {"code": code, "message": message, "param": param, "type": error_type}
        self.body: dict[str, Any] = {
            "error": {name: value for name, value in fields.items() if value is not None}
        }


def invalid(message: str, param: str, code: str | None = None) -> ApiError:
    """Return the refusal of a parameter."""
    return ApiError(400, message, code=code, param=param)


def missing(what: str, object_id: str, param: str) -> ApiError:
    """Return the refusal of an id that nothing has."""
    return ApiError(404, f"No such {what}: '{object_id}'", code="resource_missing", param=param)
