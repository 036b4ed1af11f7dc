"""Traces by OpenTelemetry's API: from a request through its job's attempts to the provider's calls.

Nothing happens before somebody sets up an SDK (see `holdfast.telemetry.export`): what begins a span
gives None then, and the callers pass the rest by. Spans hold ids, names and numbers; what an error
says may be somebody's data, so only its code is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from holdfast.model import Job

    Attributes = Mapping[str, str | int | float | bool]

Kind = trace.SpanKind

JOB_ID = "holdfast.job.id"
JOB_KIND = "holdfast.job.kind"
QUEUE = "holdfast.queue"

_tracer = trace.get_tracer("holdfast")
"""Passes everything on to the SDK that is set up at the time; to nothing before."""

_w3c = TraceContextTextMapPropagator()


def start_span(
    name: str,
    kind: Kind = Kind.INTERNAL,
    *,
    parent: Context | None = None,
    attributes: Attributes | None = None,
) -> Span | None:
    """Begin a span below `parent`, the one under way by default; None if it belongs to no trace.

    One that is not recorded, because its trace was left out or is recorded elsewhere, is given all the
    same, so that what lies below it is left out, too: ask it before you gather attributes.
    """
    span = _tracer.start_span(name, context=parent, kind=kind, attributes=attributes)
    return span if span.get_span_context().is_valid else None


def end_span(span: Span, error: BaseException | None = None) -> None:
    """End a span; of an error only the code or the class is told."""
    if error is not None and span.is_recording():
        span.set_attribute("error.type", getattr(error, "code", None) or type(error).__name__)
        if not isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            mark_failed(span)
    span.end()


def mark_failed(span: Span) -> None:
    """Mark a span as failed, for those who look for what failed."""
    span.set_status(trace.StatusCode.ERROR)


@contextlib.contextmanager
def under(span: Span) -> Iterator[None]:
    """Have what runs in the block belong to the span, and end it behind."""
    token = context.attach(trace.set_span_in_context(span))
    try:
        yield
    except BaseException as error:
        end_span(span, error)
        raise
    else:
        end_span(span)
    finally:
        context.detach(token)


def current_traceparent() -> str | None:
    """Return the span under way as a W3C `traceparent`; None outside of any trace."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent")


def context_of(traceparent: str | None) -> Context:
    """Return the context that a `traceparent` names; an empty one if it is None or malformed."""
    return _w3c.extract({} if traceparent is None else {"traceparent": traceparent}, context.Context())


def start_attempt(job: Job) -> Span | None:
    """Begin an attempt's span below the job's submission; None if nobody records it.

    What the current task does from here on belongs to the job's trace, recorded or not.
    """
    parent = context_of(job.traceparent)
    span = start_span(f"job.attempt {job.kind}", Kind.CONSUMER, parent=parent)
    if span is None:
        return None
    context.attach(trace.set_span_in_context(span))
    if not span.is_recording():
        return None
    span.set_attributes(
        {
            JOB_ID: job.job_id,
            JOB_KIND: job.kind,
            QUEUE: job.queue,
            "holdfast.job.attempt": job.attempt,
            "holdfast.job.epoch": job.epoch,
            **({} if job.tenant is None else {"holdfast.tenant": job.tenant}),
        }
    )
    return span


def end_attempt(span: Span, job: Job | None) -> None:
    """End an attempt's span.

    Args:
        span: Of the attempt.
        job: As settled; None if the attempt had lost it, or could not settle it.
    """
    status = "lost" if job is None else job.status.value
    span.set_attribute("holdfast.job.status", status)
    if status in ("lost", "failed"):
        code = status if job is None or job.error is None else job.error.code
        span.set_attribute("error.type", code)
        mark_failed(span)
    span.end()


def start_step(key: str, group: str, step_attempt: int) -> Span | None:
    """Begin the span of one try of a step, named after the group that its key belongs to."""
    attributes: dict[str, Any] = {"holdfast.step.key": key, "holdfast.step.attempt": step_attempt}
    return start_span(f"step {group}", attributes=attributes)
