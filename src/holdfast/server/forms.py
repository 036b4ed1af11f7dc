"""Forms: read within limits, and taken only from pages of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from holdfast.errors import InvalidInputError, ValueTooLargeError
from holdfast.server.origins import refuse_foreign

if TYPE_CHECKING:
    from starlette.requests import Request

FORM_BYTES_MAX = 256 * 1024
FIELDS_MAX = 20
MEDIA_TYPE = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that one of our pages sent.

    Raises:
        AccessDeniedError: A page from elsewhere sent it.
        InvalidInputError, ValueTooLargeError: It is no form, or too large.
    """
    refuse_foreign(request, "send this form")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise InvalidInputError("the request carries no form", hint=f"send {MEDIA_TYPE}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise ValueTooLargeError(f"the form is larger than {FORM_BYTES_MAX // 1024} KiB")
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError:
        raise InvalidInputError("the form cannot be read") from None
    return {name: value.strip() for name, value in fields}
