"""Job kinds: which function runs a job, with which limits and types."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

import pydantic

from holdfast.codec import (
    decode_value,
    describe_invalid,
    encode_value,
    parameter_types,
    return_type,
    type_adapter,
)
from holdfast.errors import (
    ConfigError,
    DuplicateJobKindError,
    InvalidInputError,
    UnknownJobKindError,
    UnserializableValueError,
)
from holdfast.model import Budget, Concurrency, RetryPolicy
from holdfast.store.base import RESERVED_KIND_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_NO_INPUT = type(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """A registered job function with its defaults."""

    kind: str
    function: Callable[..., Awaitable[Any]]
    queue: str
    """The line its jobs wait in, unless the submission says otherwise."""
    input_type: Any
    """Declared type of the argument; None when undeclared, `NoneType` when it takes none."""
    output_type: Any
    """Declared type of the return value; None when undeclared."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """For transient errors that job code itself raises; steps have policies of their own."""
    step_retry: RetryPolicy = field(default_factory=RetryPolicy)
    """For steps that name no policy."""
    soft_limit: timedelta | None = None
    """After this much time under a worker the next step raises `SoftLimitError`."""
    hard_limit: timedelta | None = None
    """After this much time under a worker the job fails."""
    budget: Budget = field(default_factory=Budget)
    priority: int = 0
    keep: timedelta | None = None
    """How long its jobs are kept once they have ended; None for `Registry.keep`."""
    concurrency: Concurrency | None = None
    """How many of its jobs may run at once; as many as there are slots by default."""

    def concurrency_of(
        self, text: bytes, *, tenant: str | None, key: str | None
    ) -> tuple[str | None, int | None]:
        """Return the concurrency key and limit of a job.

        Args:
            text: Its encoded input.
            tenant: Whose job it is.
            key: Given by the caller, instead of what the kind makes of input and tenant.

        Raises:
            InvalidInputError: A key is given, and the kind declares no limit.
        """
        if self.concurrency is None:
            if key is not None:
                raise InvalidInputError(
                    f"concurrency key {key!r} for job kind {self.kind!r}, which declares no limit",
                    hint="register it with concurrency=Concurrency(limit=…)",
                )
            return None, None
        limit, per = self.concurrency.limit, self.concurrency.per
        if key is not None:
            return key, limit
        if per == "kind":
            return f"kind:{self.kind}", limit
        if per == "tenant":
            return f"kind:{self.kind} tenant:{tenant or ''}", limit
        return f"kind:{self.kind} {per(self.decode_input(text))}", limit

    def encode_input(self, value: Any) -> bytes:
        """Validate and encode an input.

        Raises:
            InvalidInputError: It does not fit the declared type.
        """
        if self.input_type is _NO_INPUT and value is not None:
            raise InvalidInputError(
                f"job kind {self.kind!r} takes no input, got a {type(value).__name__}",
                hint="submit it without an input, or give its function a second parameter",
            )
        adapter = None if self.input_type in (None, _NO_INPUT) else type_adapter(self.input_type)
        if adapter is not None:
            try:
                value = adapter.validate_python(value)
            except pydantic.ValidationError as error:
                raise InvalidInputError(
                    f"input of job kind {self.kind!r} does not fit its model: {describe_invalid(error)}"
                ) from None
        try:
            text, _ = encode_value(value, self.input_type, what=f"input of job kind {self.kind!r}")
        except UnserializableValueError as error:
            raise InvalidInputError(error.message, hint=error.hint) from None
        return text

    def decode_input(self, text: bytes) -> Any:
        """Decode a stored input.

        Raises:
            CheckpointTypeError: It does not fit the type that the code now declares.
        """
        return decode_value(text, self.input_type, None, what=f"input of job kind {self.kind!r}")


class KindOptions(TypedDict, total=False):
    """What an author may say of a job kind, as keyword arguments; see `JobKind` and `App.job`."""

    queue: str | None
    retry: RetryPolicy | None
    step_retry: RetryPolicy | None
    soft_limit: timedelta | None
    hard_limit: timedelta | None
    budget: Budget | None
    priority: int
    concurrency: Concurrency | None
    keep: timedelta | None


class Registry:
    """The job kinds of one application, by name; beside them, Holdfast's own.

    Its own kinds are run by workers like all others, but nobody submits them, and nothing here lists
    them as the application's.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, JobKind] = {}
        self._reserved: dict[str, JobKind] = {}
        self.keep: timedelta | None = None
        """How long jobs are kept once they have ended, unless their kind says so; None for always."""

    @property
    def names(self) -> tuple[str, ...]:
        """The registered kinds, sorted."""
        return tuple(sorted(self._kinds))

    @property
    def runnable(self) -> tuple[str, ...]:
        """What a worker can run: the registered kinds and Holdfast's own, sorted."""
        return tuple(sorted((*self._kinds, *self._reserved)))

    @property
    def queues(self) -> tuple[str, ...]:
        """The lines that jobs of all these kinds wait in, sorted."""
        return tuple(sorted({self.find_runnable(kind).queue for kind in self.runnable}))

    @property
    def retention(self) -> dict[str, timedelta]:
        """How long the jobs of each kind are kept once they have ended; without those kept for good."""
        found = {name: self.find_runnable(name).keep or self.keep for name in self.runnable}
        return {name: keep for name, keep in found.items() if keep is not None}

    def __contains__(self, kind: str) -> bool:
        return kind in self._kinds

    def get(self, kind: str) -> JobKind:
        """Return the kind.

        Raises:
            UnknownJobKindError: It is not registered.
        """
        try:
            return self._kinds[kind]
        except KeyError:
            raise UnknownJobKindError(kind=kind, known=self.names) from None

    def find_runnable(self, kind: str) -> JobKind:
        """Return the kind, be it Holdfast's own.

        Raises:
            UnknownJobKindError: It is not registered.
        """
        return self._reserved.get(kind) or self.get(kind)

    def find(self, kind: str | Callable[..., Awaitable[Any]]) -> JobKind:
        """Return the kind by its name or by its function.

        Raises:
            UnknownJobKindError: It is not registered.
            ConfigError: The function is registered under several names.
        """
        if not callable(kind):
            return self.get(kind)
        found = [known for known in self._kinds.values() if known.function is kind]
        if not found:
            name = getattr(kind, "__qualname__", repr(kind))
            raise UnknownJobKindError(kind=name, known=self.names)
        if len(found) > 1:
            names = ", ".join(repr(known.kind) for known in found)
            raise ConfigError(
                f"function {kind.__qualname__!r} is registered as {names}", hint="name the kind instead"
            )
        return found[0]

    def add(self, kind: str, function: Callable[..., Awaitable[Any]], **options: Any) -> JobKind:
        """Register `function` under `kind`; `options` are fields of `JobKind`.

        Raises:
            DuplicateJobKindError: The name is taken.
            ConfigError: The function is not an `async def` of a context and at most one input.
        """
        if kind in self._kinds:
            raise DuplicateJobKindError(kind=kind)
        _check_kind_name(kind)
        if kind.startswith(RESERVED_KIND_PREFIX):
            raise ConfigError(
                f"job kind {kind!r} begins with {RESERVED_KIND_PREFIX!r}, which only Holdfast's own do",
                hint="choose another name",
            )
        job_kind = self._kinds[kind] = _job_kind(kind, function, options)
        return job_kind

    def reserve(self, kind: str, function: Callable[..., Awaitable[Any]], **options: Any) -> JobKind:
        """Register one of Holdfast's own kinds; registering it again replaces it.

        Raises:
            ConfigError: The function is not an `async def` of a context and at most one input.
        """
        job_kind = self._reserved[kind] = _job_kind(kind, function, options)
        return job_kind


def _job_kind(kind: str, function: Callable[..., Awaitable[Any]], options: dict[str, Any]) -> JobKind:
    keep = options.get("keep")
    if keep is not None and keep <= timedelta():
        raise ConfigError(
            f"job kind {kind!r} is to be kept for {keep}, which is no time at all",
            hint="give keep=timedelta(days=30), or leave it out to keep its jobs",
        )
    return JobKind(
        kind=kind,
        function=function,
        queue=options.pop("queue", None) or kind,
        input_type=_input_type(kind, function),
        output_type=return_type(function),
        **{name: value for name, value in options.items() if value is not None},
    )


def _check_kind_name(kind: str) -> None:
    if not isinstance(kind, str):
        raise ConfigError(
            f"a job kind must be a name, got {kind!r}", hint='write @app.job("name") with parentheses'
        )
    if not kind or len(kind) > 200 or any(character.isspace() for character in kind):
        raise ConfigError(
            f"job kind {kind!r} is not a usable name", hint="use 1 to 200 characters without white space"
        )


def _input_type(kind: str, function: Callable[..., Awaitable[Any]]) -> Any:
    if not inspect.iscoroutinefunction(function):
        raise ConfigError(
            f"job kind {kind!r} is registered with {function!r}, which is not an 'async def' function",
            hint="write the job as 'async def name(job: JobContext, input: Model) -> Result'",
        )
    parameters = list(inspect.signature(function).parameters.values())
    extra = [
        p
        for p in parameters[2:]
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not parameters or extra:
        raise ConfigError(
            f"job kind {kind!r}: its function takes {len(parameters)} parameters",
            hint="a job takes the JobContext and at most one input; put several values into one model",
        )
    if len(parameters) == 1:
        return _NO_INPUT
    if parameters[1].kind is parameters[1].KEYWORD_ONLY:
        raise ConfigError(
            f"job kind {kind!r}: its input {parameters[1].name!r} is keyword-only",
            hint="make it the second positional parameter",
        )
    return parameter_types(function).get(parameters[1].name)
