"""Where traces go: OpenTelemetry's SDK, set up by entry points when a collector is named."""

from __future__ import annotations

from importlib.metadata import version

from opentelemetry import trace

from holdfast.errors import ConfigError

PROTOCOL = "http/protobuf"


def start_tracing(endpoint: str | None, traces_endpoint: str | None, protocol: str) -> bool:
    """Send traces to a collector from now on, if one is named; whether that is so.

    What else there is to say (service name, sampler, headers, timeouts) the SDK reads from its own
    variables. What is recorded at the end is sent when the process exits.

    Args:
        endpoint: The collector's base URL.
        traces_endpoint: Full URL for traces; goes before the other one.
        protocol: How it wants to be spoken to.

    Raises:
        ConfigError: The extra `holdfast[tracing]` is missing, or the protocol is another one.
    """
    url = traces_endpoint or (f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)
    if url is None:
        return False
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
    return True
