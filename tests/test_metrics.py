import asyncio
import errno
import socket
import threading
import urllib.error
import urllib.request

import pytest

from holdfast import App, metrics
from holdfast.errors import ConfigError
from holdfast.metrics import MetricsServer
from holdfast.settings import Settings


def get(server, path, host="127.0.0.1"):
    try:
        with urllib.request.urlopen(f"http://{host}:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()


@pytest.fixture
def troubles():
    return []


@pytest.fixture
def server(troubles):
    found = MetricsServer(0, lambda: troubles)
    yield found
    found.close()


def test_metrics_are_served(server):
    status, text = get(server, "/metrics")

    assert status == 200
    assert "holdfast_jobs_running 0.0" in text


def test_process_is_alive_until_there_is_trouble(server, troubles):
    assert get(server, "/health/live") == (200, "alive\n")

    troubles += ["the loop is stuck", "so is the consumer"]

    assert get(server, "/health/live") == (503, "the loop is stuck\nso is the consumer\n")


def test_other_paths_say_what_there_is(server):
    assert get(server, "/") == (404, "there is /metrics and /health/live\n")


def test_port_that_is_taken_is_told():
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(ConfigError, match=f"metrics port {port} cannot be listened on"):
            MetricsServer(port, list)


def idle(server):
    """A connection over which nothing is asked."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_connections_that_say_nothing_hold_up_neither_probe_nor_close(server):
    with idle(server), idle(server):
        assert get(server, "/health/live") == (200, "alive\n")

        server.close()

        assert not server._thread.is_alive()
        with pytest.raises(ConnectionRefusedError):
            idle(server)


def test_client_that_says_nothing_is_hung_up_on_without_a_word(server, monkeypatch, capfd):
    monkeypatch.setattr(metrics._Handler, "timeout", 0.01)

    with idle(server) as client:
        assert client.recv(1) == b""

    assert capfd.readouterr() == ("", "")


def test_probe_may_come_by_ipv6(server):
    if server._server.address_family != socket.AF_INET6:
        pytest.skip("this machine has no IPv6")

    assert get(server, "/health/live", host="[::1]") == (200, "alive\n")


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_machine_without_ipv6_listens_by_ipv4(monkeypatch, code):
    def refuse(_):
        raise OSError(code, "no IPv6")

    monkeypatch.setattr(metrics._DualStackServer, "server_bind", refuse)
    server = MetricsServer(0, list)
    try:
        assert get(server, "/health/live") == (200, "alive\n")
    finally:
        server.close()


async def test_worker_ends_its_server_off_the_event_loop(monkeypatch, tmp_path):
    closed_in = []
    close = MetricsServer.close

    def noted(server):
        closed_in.append(threading.current_thread())
        close(server)

    monkeypatch.setattr(MetricsServer, "close", noted)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async with App(Settings(home=tmp_path, metrics_port=port)).worker():
        _, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.close()
    assert len(closed_in) == 1
    assert closed_in[0] is not threading.current_thread()
