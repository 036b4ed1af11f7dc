"""What an author asks of a step, checked when it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from holdfast import codec
from holdfast.errors import StepUsageError
from holdfast.model import Isolation, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What an author may say of a step beside its function and arguments."""

    retry: RetryPolicy | None = None
    """None: the policy of the job kind."""
    timeout: timedelta | None = None
    """Limit of one attempt, waits for a lane included."""
    isolate: Isolation | bool = False
    """Run in a child process; True for the default limits."""
    undo: Callable[..., Any] | None = None
    """Takes the step back on cancel and final failure."""
    returns: Any = None
    """Type of the result, where the function's annotation does not tell."""

    def __post_init__(self) -> None:
        """Check the options' types, so that a mistake shows at the call and not hours later.

        Raises:
            StepUsageError: An option is not what it must be.
        """
        _check_option("retry", self.retry, RetryPolicy, "RetryPolicy(attempts=3)")
        _check_option("timeout", self.timeout, timedelta, "timedelta(seconds=30)")
        if not isinstance(self.isolate, bool):
            _check_option("isolate", self.isolate, Isolation, "True or Isolation(memory_bytes=…)")
        if self.undo is not None and not callable(self.undo):
            raise StepUsageError(
                f"undo={self.undo!r} is not a function", hint="pass the function itself, do not call it"
            )


def _check_option(name: str, value: Any, wanted: type, example: str) -> None:
    if value is not None and not isinstance(value, wanted):
        raise StepUsageError(
            f"{name}={value!r} is a {type(value).__name__}",
            hint=f"give {name}={example}; pass the function's own {name} by functools.partial",
        )


class StepKeywords(TypedDict, total=False):
    """`StepOptions` as keyword arguments."""

    retry: RetryPolicy | None
    timeout: timedelta | None
    isolate: Isolation | bool
    undo: Callable[..., Any] | None
    returns: Any


@dataclass(frozen=True, slots=True)
class StepCall:
    """A function with its arguments and options, on its way to becoming a checkpoint."""

    key: str
    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    options: StepOptions

    @property
    def result_type(self) -> Any:
        """The declared type of the result, None when nothing declares it."""
        if self.options.returns is not None:
            return self.options.returns
        return codec.return_type(self.function)
