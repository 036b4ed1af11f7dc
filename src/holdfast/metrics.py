"""What can be measured of a process, in Prometheus' own client; `docs/reference/metrics.md` lists it.

The default registry is used, so an application that exposes its own metrics shows these, too.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import Counter, Gauge, Histogram, make_wsgi_app

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
