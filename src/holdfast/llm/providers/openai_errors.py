"""Failures of an OpenAI-compatible endpoint, as our errors: one table.

Our messages carry the status and the provider's error code, never its text: that text quotes
prompts and parts of keys. Source: OpenAI, "Error codes".
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import openai

from holdfast.errors import (
    AccountRefusedError,
    ContentRefusedError,
    ContextTooLongError,
    LLMError,
    ProviderRequestError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
)
from holdfast.llm.providers.headers import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

FOREIGN_ERRORS = (openai.OpenAIError, OSError, TimeoutError, ValueError)
"""What the SDK and its transport raise; ValueError is a body that is not JSON."""

_QUOTA = re.compile(
    r"insufficient_quota|credit_balance_exhausted|billing_hard_limit_reached|billing_not_active"
    r"|insufficient_(?:balance|credits?|funds)|\w*_(?:spend|usage)_limit_exceeded"
)
_KEY = re.compile(
    r"invalid_api_key|incorrect_api_key|invalid_authentication|invalid_issuer|no_api_key"
    r"|account_deactivated|organization_deactivated|key_\w+|invalid_organization|invalid_project"
)
_CONTEXT = re.compile(r"context_length_exceeded|string_above_max_length|context_window_exceeded")
_CONTEXT_TEXT = re.compile(r"maximum context length|context window|prompt is too long", re.IGNORECASE)
_CONTENT = re.compile(
    r"content_filter|content_policy_violation|moderation_blocked|responsibleaipolicyviolation",
    re.IGNORECASE,
)
_SAFE_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_UNAVAILABLE_STATUS = frozenset({408, 409, 425})
_KEY_STATUS = 401
_PAYMENT_STATUS = 402
_FORBIDDEN_STATUS = 403
_LIMIT_STATUS = 429


def translate(error: Exception, name: str, now: datetime) -> LLMError:
    """Return our error for a failure of the SDK or its transport.

    Args:
        error: One of `FOREIGN_ERRORS`.
        name: The provider's name, for messages.
        now: The present, for a Retry-After that is a date.
    """
    if isinstance(error, openai.APIStatusError):
        return _by_status(error, name, now)
    if isinstance(error, (openai.APIConnectionError, OSError)):
        return _by_connection(error, name)
    if isinstance(error, openai.APIError) and error.body is not None:
        return _by_stream_event(error, name)
    return ProviderUnavailableError(f"provider {name!r} sent an answer that cannot be read")


def _by_status(error: openai.APIStatusError, name: str, now: datetime) -> LLMError:
    status, code = error.status_code, _code(error)
    what = f"provider {name!r} answered {status} ({code})"
    refused = _account_refusal(status, code, what)
    if refused is not None:
        return refused
    if status == _LIMIT_STATUS or status in _UNAVAILABLE_STATUS or status >= 500:
        wait = _retry_after(error.response.headers, error, now)
        if status == _LIMIT_STATUS:
            return RateLimitedError(what, retry_after=wait)
        return ProviderUnavailableError(what, retry_after=wait)
    return _by_code(error, code, what)


def _account_refusal(status: int, code: str, what: str) -> AccountRefusedError | None:
    if _QUOTA.fullmatch(code) or status == _PAYMENT_STATUS:
        reason = code if _QUOTA.fullmatch(code) else "payment_required"
        return AccountRefusedError(what, reason=reason, hint="add credit or raise the limit")
    if status == _KEY_STATUS or (status == _FORBIDDEN_STATUS and _KEY.fullmatch(code)):
        reason = code if _KEY.fullmatch(code) else "invalid_api_key"
        return AccountRefusedError(what, reason=reason, hint="check the API key")
    return None


def _by_code(error: openai.APIError, code: str, what: str) -> LLMError:
    """Tell refusals of the request itself apart."""
    if _CONTEXT.fullmatch(code) or _CONTEXT_TEXT.search(error.message):
        return ContextTooLongError(what, hint="shorten the prompt or pick a model with a larger context")
    if _CONTENT.fullmatch(code):
        return ContentRefusedError(f"{what}: the provider's filter refused the request")
    parameter = error.param if isinstance(error.param, str) else ""
    named = f" at {parameter!r}" if _SAFE_CODE.fullmatch(parameter) else ""
    return ProviderRequestError(what + named, hint="the same request will be refused again")


def _by_connection(error: Exception, name: str) -> LLMError:
    # The transport reports a lost connection as a timeout: only a cause tells them apart.
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return ProviderTimeoutError(f"provider {name!r} could not be reached in time")
        cause = cause.__cause__
    return ProviderUnavailableError(f"connection to provider {name!r} failed")


def _by_stream_event(error: openai.APIError, name: str) -> LLMError:
    """An error in the middle of a stream comes without a status."""
    code = _code(error)
    what = f"provider {name!r} ended a stream ({code})"
    refused = _account_refusal(0, code, what)
    if refused is not None:
        return refused
    if code in {"rate_limit_exceeded", "slow_down"}:
        return RateLimitedError(what)
    if _CONTEXT.fullmatch(code) or _CONTENT.fullmatch(code):
        return _by_code(error, code, what)
    return ProviderUnavailableError(what)


def _code(error: openai.APIError) -> str:
    """Return the provider's code if it looks like one; anything else might quote the request."""
    for candidate in (error.code, error.type):
        if isinstance(candidate, str) and _SAFE_CODE.fullmatch(candidate):
            return candidate
    return "no code"


def _retry_after(headers: Mapping[str, str], error: openai.APIError, now: datetime) -> timedelta | None:
    seconds = retry_after_seconds(headers, hint=error.message, now=now)
    return None if seconds is None else timedelta(seconds=min(seconds, _RETRY_AFTER_SECONDS_MAX))


_RETRY_AFTER_SECONDS_MAX = 86_400.0
