"""Traces on their way out: to a collector that is there, one that is away, and without the SDK."""

import http.server
import sys
import threading
from collections.abc import Iterator

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from holdfast.errors import ConfigError
from holdfast.settings import Settings
from holdfast.telemetry import export
from holdfast.telemetry.export import start_tracing, traces_url, tracing
from tests.cli.conftest import SAMPLE, Start, clean_surroundings, start
from tests.cli.test_serve import url_of

__all__ = ["clean_surroundings", "start"]

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(http.server.ThreadingHTTPServer):
    """Takes traces as OpenTelemetry's collector does, and keeps what they decode to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collecting)
        self.taken: list[ExportTraceServiceRequest] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[tuple[str, str, str]]:
        """Return the trace, the service and the name of each span."""
        return [
            (span.trace_id.hex(), _service(resource), span.name)
            for request in self.taken
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def _service(resource) -> str:
    found = {each.key: each.value.string_value for each in resource.resource.attributes}
    name: str = found["service.name"]
    return name


class _Collecting(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        good = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
        if good:
            self.server.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200 if good else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.process
@pytest.mark.timeout(90)
async def test_serve_sends_the_trace_of_a_job_to_the_collector(start: Start, collector: Collector):
    serving = await start(
        *SAMPLE,
        *("serve", "--port", "0"),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_SERVICE_NAME="shop-jobs",
    )
    url = await url_of(serving)

    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{url}/api/v1/jobs",
            json={"kind": "sums", "input": {}},
            headers={"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"},
        )
    await serving.line("attempt settled .*status=completed")
    serving.process.terminate()
    ended = await serving.end()

    assert (answer.status_code, ended.status) == (202, 0), ended.err
    names = [name for trace_id, service, name in collector.spans() if trace_id == TRACE_ID]
    assert {service for _, service, _ in collector.spans()} == {"shop-jobs"}
    assert sorted(set(names)) == [
        "POST /api/v1/jobs",
        "job.attempt sums",
        "job.submit sums",
        "step double",
    ]
    assert f"trace_id={TRACE_ID}" in ended.err


@pytest.mark.process
@pytest.mark.timeout(90)
async def test_collector_that_is_away_holds_up_nothing(start: Start):
    away = "http://127.0.0.1:9"
    job = await (await start(*SAMPLE, "jobs", "submit", "sums", "{}")).end()
    working = await start(*SAMPLE, "worker", OTEL_EXPORTER_OTLP_ENDPOINT=away)

    await working.line("attempt settled .*status=completed")
    working.process.terminate()
    ended = await working.end()

    assert (job.status, ended.status) == (0, 0), ended.err


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (Settings(), None),
        (Settings(otlp_endpoint=""), None),
        (Settings(otlp_endpoint="http://a:4318/"), "http://a:4318/v1/traces"),
        (Settings(otlp_endpoint="http://a", otlp_traces_endpoint="http://b/in"), "http://b/in"),
    ],
)
def test_traces_go_where_the_standard_variables_say(settings, url):
    assert traces_url(settings) == url


def test_nothing_is_set_up_without_a_collector(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with tracing(Settings()):
        assert start_tracing(Settings()) is None


def test_missing_extra_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(ConfigError, match="SDK cannot be imported") as told:
        start_tracing(Settings(otlp_endpoint="http://a:4318"))

    assert "holdfast[tracing]" in told.value.hint


def test_other_protocol_is_refused():
    with pytest.raises(ConfigError, match="cannot be sent by 'grpc'"):
        start_tracing(Settings(otlp_endpoint="http://a:4317", otlp_protocol="grpc"))


def test_end_waits_for_a_collector_that_hangs_only_for_a_while(monkeypatch):
    hanging = threading.Event()

    class Provider:
        def shutdown(self) -> None:
            hanging.wait()

    monkeypatch.setattr(export, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(export, "start_tracing", lambda _: Provider())

    with tracing(Settings(otlp_endpoint="http://a:4318")):
        pass

    assert any(one.name == "holdfast-traces" for one in threading.enumerate())
    hanging.set()
