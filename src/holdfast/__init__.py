"""Durable jobs for long AI work, in plain Python and SQL.

The names below are imported when they are first asked for: child processes and `holdfast --help`
import parts of the package, and must not wait for all of it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.engine.context import JobContext
    from holdfast.errors import FatalError, HoldfastError, RetryLaterError
    from holdfast.model import Budget, Concurrency, Isolation, Job, JobStatus, RetryPolicy
    from holdfast.remote import Client
    from holdfast.wiring import App

__all__ = [
    "App",
    "Budget",
    "Client",
    "Concurrency",
    "FatalError",
    "HoldfastError",
    "Isolation",
    "Job",
    "JobContext",
    "JobStatus",
    "RetryLaterError",
    "RetryPolicy",
]

_HOMES = {
    "App": "wiring",
    "Budget": "model",
    "Client": "remote",
    "Concurrency": "model",
    "FatalError": "errors",
    "HoldfastError": "errors",
    "Isolation": "model",
    "Job": "model",
    "JobContext": "engine.context",
    "JobStatus": "model",
    "RetryLaterError": "errors",
    "RetryPolicy": "model",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
