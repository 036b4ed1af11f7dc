"""What can be measured of a process, in Prometheus' own client; `docs/reference/metrics.md` lists it.

The default registry is used, so an application that exposes its own metrics shows these, too. What is
known of the whole fleet stands in a registry of its own, which only the HTTP service shows.
Labels are names that code or configuration gives (kinds, queues, models, routes), never ids or tenants.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    make_wsgi_app,
)

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

JOBS_CLAIMED = Counter("holdfast_jobs_claimed", "Jobs taken by this worker.", ["kind"])
ATTEMPTS_ENDED = Counter(
    "holdfast_attempts_ended", "Attempts that ended here, by what became of the job.", ["kind", "status"]
)
JOBS_RUNNING = Gauge("holdfast_jobs_running", "Attempts under way.")
SLOTS = Gauge("holdfast_slots", "Attempts that this process may run at once.")
JOBS_RESCUED = Counter("holdfast_jobs_rescued", "Jobs queued again because their worker was lost.")
JOBS_PRUNED = Counter(
    "holdfast_jobs_pruned", "Jobs deleted because they were past their retention.", ["kind"]
)
REPAIRS = Counter(
    "holdfast_repairs", "Jobs claimed because nobody came for them after their announcement.", ["queue"]
)
DISPATCH_FAILURES = Counter("holdfast_dispatch_failures", "Announcements that did not reach the broker.")
BROKER_CONNECTED = Gauge(
    "holdfast_broker_connected", "Whether the consumer has a connection to the broker."
)
CONSUMER_SILENT = Gauge(
    "holdfast_consumer_silent",
    "Whether the consumer receives nothing although jobs have to be repaired.",
)
STREAMS_OPEN = Gauge("holdfast_streams_open", "Live streams that clients have open here.")
LOOP_LAG = Histogram(
    "holdfast_loop_lag_seconds",
    "How late the event loop comes to what is due.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0),
)

# Names and buckets of these are OpenTelemetry's.
REQUEST_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "From a request's first byte to its answer's last; of a stream, to its first.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
REQUESTS_ACTIVE = Gauge("http_server_active_requests", "Requests under way.", ["http_request_method"])
_CALL = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"]
TOKENS_USED = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of each model call.",
    [*_CALL, "gen_ai_token_type"],
    buckets=tuple(4**power for power in range(14)),
)
CALL_SECONDS = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "Model calls from request to end, waits for a lane excluded.",
    [*_CALL, "error_type"],
    buckets=tuple(0.01 * 2**power for power in range(14)),
)
SPENT_USD = Counter(
    "holdfast_spent_usd", "Money that model calls of known price have cost.", ["kind", "model"]
)

FLEET = CollectorRegistry()
"""What the store knows of all processes together; set by `holdfast.server.fleet` when asked for."""

STORE_UP = Gauge("holdfast_store_up", "Whether the store answers.", registry=FLEET)
QUEUE_JOBS = Gauge(
    "holdfast_queue_jobs", "Jobs that have not ended, by queue.", ["queue", "status"], registry=FLEET
)
QUEUE_AGE = Gauge(
    "holdfast_queue_oldest_seconds",
    "How long the job has been due that waits longest for a worker.",
    ["queue"],
    registry=FLEET,
)
QUEUE_WORKERS = Gauge(
    "holdfast_queue_workers", "Workers alive that serve a queue.", ["queue"], registry=FLEET
)
WORKERS_ALIVE = Gauge("holdfast_workers_alive", "Workers whose lease is good.", registry=FLEET)
FLEET_SLOTS = Gauge("holdfast_fleet_slots", "Attempts that all workers may run at once.", registry=FLEET)
FLEET_RUNNING = Gauge(
    "holdfast_fleet_running", "Attempts under way by the workers' own count.", registry=FLEET
)
LANE_HELD = Gauge(
    "holdfast_lane_held",
    "Whether a lane is held: quota used up, or key refused.",
    ["lane"],
    registry=FLEET,
)
LANE_PAUSED = Gauge(
    "holdfast_lane_paused",
    "Whether a lane pauses because the provider said so.",
    ["lane"],
    registry=FLEET,
)
LANE_RATE = Gauge(
    "holdfast_lane_rate_factor",
    "Share of its limits that a lane makes use of.",
    ["lane"],
    registry=FLEET,
)

_FLEET_BY_NAME = (QUEUE_JOBS, QUEUE_AGE, QUEUE_WORKERS, LANE_HELD, LANE_PAUSED, LANE_RATE)
_FLEET_IN_ALL = (WORKERS_ALIVE, FLEET_SLOTS, FLEET_RUNNING)


def forget_fleet() -> None:
    """Drop what is known of the fleet: queues come and go, and what is no longer known is not told."""
    for by_name in _FLEET_BY_NAME:
        by_name.clear()
    for in_all in _FLEET_IN_ALL:
        in_all.set(float("nan"))


def exposition() -> tuple[bytes, str]:
    """Return all metrics of this process and of the fleet as Prometheus reads them, and their type."""
    return generate_latest(REGISTRY) + generate_latest(FLEET), CONTENT_TYPE_PLAIN_0_0_4


_CLOSE_SECONDS = 5.0
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT}


class _Handler(WSGIRequestHandler):
    timeout = 5
    """Seconds that a client may keep its thread waiting for the next bytes."""

    def handle(self) -> None:
        # A client that says nothing or goes away is no trouble of this process.
        with contextlib.suppress(TimeoutError, ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: probes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread of its own, so that an idle one holds up no probe."""

    daemon_threads = True
    block_on_close = False
    timeout = 0.5
    """Seconds until `handle_request` returns although nobody has called."""

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the name service who this machine is, which may take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]
        self.setup_environ()


class _DualStackServer(_Server):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class MetricsServer:
    """Serves `/metrics` and `/health/live` from threads of its own."""

    def __init__(self, port: int, troubles: Callable[[], Sequence[str]]) -> None:
        """Listen on all interfaces, by IPv6 and IPv4 where the machine has both.

        Args:
            port: Where; 0 for any free one.
            troubles: Gives what is wrong; nothing while the process is well. Called from any thread.

        Raises:
            ConfigError: The port cannot be had.
        """
        self._troubles = troubles
        self._metrics = make_wsgi_app()
        try:
            self._server = self._listen(port)
        except OSError as error:
            raise ConfigError(
                f"metrics port {port} cannot be listened on: {error.strerror}",
                hint="choose another --metrics-port",
            ) from error
        self.port = self._server.server_port
        """The port in use."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="holdfast-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening. Waits for half a second or so, at most five: call it off the event loop."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)

    def _listen(self, port: int) -> _Server:
        try:
            return make_server("::", port, self._answer, _DualStackServer, _Handler)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
        return make_server("", port, self._answer, _Server, _Handler)

    def _serve(self) -> None:
        with self._server:
            while not self._closing.is_set():
                self._server.handle_request()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            metrics: Iterable[bytes] = self._metrics(environ, start_response)
            return metrics
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        if path != "/health/live":
            start_response("404 Not Found", headers)
            return [b"there is /metrics and /health/live\n"]
        troubles = self._troubles()
        start_response("503 Service Unavailable" if troubles else "200 OK", headers)
        return [("\n".join(troubles) or "alive").encode() + b"\n"]
