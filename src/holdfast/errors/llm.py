"""Errors of model calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from holdfast.errors.base import HoldfastError

if TYPE_CHECKING:
    from datetime import datetime, timedelta


class LLMError(HoldfastError):
    """A model call did not give a usable answer."""

    code = "llm"


class RateLimitedError(LLMError):
    """The provider refused the call because of its rate limits."""

    code = "rate_limited"
    transient = True

    def __init__(self, message: str, *, retry_after: timedelta | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ProviderUnavailableError(LLMError):
    """The provider failed or could not be reached (408, 409, 5xx, connection)."""

    code = "provider_unavailable"
    transient = True

    def __init__(self, message: str, *, retry_after: timedelta | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ProviderTimeoutError(LLMError):
    """The provider did not finish the call within its time limit."""

    code = "provider_timeout"
    transient = True


class ProviderRequestError(LLMError):
    """The provider refused the request itself (4xx); the same request will be refused again."""

    code = "provider_request"


class ContextTooLongError(LLMError):
    """The request does not fit into the model's context."""

    code = "context_too_long"


class ContentRefusedError(LLMError):
    """The model or a filter of the provider refused to answer."""

    code = "content_refused"


class InvalidResponseError(LLMError):
    """The model's output does not fit the asked schema; retried under its own small limit."""

    code = "invalid_response"
    transient = True
    malformed: ClassVar[bool] = True


class TruncatedResponseError(LLMError):
    """The output ended at `max_output_tokens`; the same request would end there again."""

    code = "truncated_response"


class AccountRefusedError(LLMError):
    """The provider refuses every call of the account: quota exhausted or key refused.

    Raised by providers; the client parks the lane and raises `LaneHeldError` instead.
    """

    code = "account_refused"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class LaneHeldError(LLMError):
    """The lane is parked (quota exhausted or key refused); the job suspends, no attempt is eaten."""

    code = "lane_held"

    def __init__(self, message: str, *, until: datetime, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.until = until
