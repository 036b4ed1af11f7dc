"""Where traces go: OpenTelemetry's SDK, set up by entry points when a collector is named."""

from __future__ import annotations

import contextlib
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import trace

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import TracerProvider

    from holdfast.settings import Settings

PROTOCOL = "http/protobuf"
FLUSH_SECONDS = 3.0
"""How long the end of a process waits for its last traces to be taken."""


@contextlib.contextmanager
def tracing(settings: Settings) -> Iterator[None]:
    """Send traces of the block to a collector, if the settings name one; see `start_tracing`.

    A collector that is away keeps the process for `FLUSH_SECONDS` and no longer.
    """
    provider = start_tracing(settings)
    try:
        yield
    finally:
        if provider is not None:
            # It would try again for ten seconds and more.
            stopping = threading.Thread(target=provider.shutdown, name="holdfast-traces", daemon=True)
            stopping.start()
            stopping.join(FLUSH_SECONDS)


def start_tracing(settings: Settings) -> TracerProvider | None:
    """Send traces to a collector from now on, if the settings name one, and return what does.

    What else there is to say (service name, sampler, headers, time limits) the SDK reads from its own
    variables. What is recorded last is sent when the process exits.

    Raises:
        ConfigError: The extra `holdfast[tracing]` is missing, or the protocol is another one.
    """
    url = traces_url(settings)
    if url is None:
        return None
    protocol = settings.otlp_protocol
    if protocol != PROTOCOL:
        raise ConfigError(
            f"traces cannot be sent by {protocol!r}",
            hint=f"set OTEL_EXPORTER_OTLP_PROTOCOL={PROTOCOL}, and the collector's port for it (4318)",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"a collector of traces is set, but the SDK cannot be imported: {error}",
            hint="install 'holdfast[tracing]', or unset OTEL_EXPORTER_OTLP_ENDPOINT",
        ) from error
    # What the environment says of the service wins.
    named = {"service.name": "holdfast", "service.version": version("holdfast")}
    resource = Resource.create({**named, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    trace.set_tracer_provider(provider)
    return provider


def traces_url(settings: Settings) -> str | None:
    """Return where traces go; None for nowhere."""
    if settings.otlp_traces_endpoint:
        return settings.otlp_traces_endpoint
    return f"{settings.otlp_endpoint.rstrip('/')}/v1/traces" if settings.otlp_endpoint else None
