"""What is wrong with a broker is said when a worker starts, by name and without the password."""

import amqp
import pytest
import redis

from holdfast.dispatch.celery import broker_kind, celery_app
from holdfast.dispatch.celery_broker import check_broker
from holdfast.errors import ConfigError, DispatchError
from holdfast.testing.servers.base import free_port
from holdfast.testing.servers.redis import Redis

pytestmark = pytest.mark.timeout(90)


def trouble(url):
    with pytest.raises((ConfigError, DispatchError)) as raised:
        check_broker(celery_app(url))
    assert "hidden" not in str(raised.value)
    return raised.value


def test_broker_that_can_be_used_passes(broker):
    check_broker(celery_app(broker.url))


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_that_is_not_there_is_told(scheme):
    port = free_port()

    error = trouble(f"{scheme}://someone:hidden@127.0.0.1:{port}/0")

    assert isinstance(error, DispatchError)
    assert f"{scheme}://127.0.0.1:{port}" in str(error)


def test_wrong_password_of_redis_is_told(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "hidden too")
    try:
        wrong = trouble(redis_server.url.replace("redis://", "redis://:hidden@"))
        none = trouble(redis_server.url)
    finally:
        with redis.Redis.from_url(redis_server.url, password="hidden too") as client:
            client.config_set("requirepass", "")

    assert [type(error) for error in (wrong, none)] == [ConfigError, ConfigError]
    assert "refuses the login" in str(wrong)
    assert "refuses the login" in str(none)


def test_wrong_password_of_rabbitmq_is_told(rabbitmq_server):
    error = trouble(rabbitmq_server.url.replace("guest:guest", "guest:hidden"))

    assert isinstance(error, ConfigError)
    assert "refuses the login" in str(error)


def test_missing_virtual_host_is_told(rabbitmq_server):
    error = trouble(rabbitmq_server.url.rstrip("/") + "/nowhere")

    assert isinstance(error, ConfigError)
    assert "virtual host 'nowhere'" in str(error)


class ClusterNode(Redis):
    """A Redis in cluster mode."""

    def command(self):
        return [*super().command(), "--cluster-enabled", "yes"]


def test_redis_cluster_is_refused(requires):
    requires("redis-server")
    with ClusterNode() as node:
        error = trouble(node.url)

    assert isinstance(error, ConfigError)
    assert "is a Redis Cluster" in str(error)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("kafka://someone:hidden@host", "scheme 'kafka' is neither Redis nor RabbitMQ"),
        ("host:6379", "neither Redis nor RabbitMQ"),
        ("redis://", "names no host"),
        ("amqp://user:hidden@host:port/", "cannot be read"),
        ("redis://:hidden@[::1/0", "cannot be read"),
        ("redis://:hidden/word@host:6379/0", "cannot be read"),
    ],
)
def test_url_that_cannot_work_is_refused(url, told):
    with pytest.raises(ConfigError, match="HOLDFAST_BROKER") as raised:
        broker_kind(url)

    assert told in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_rabbitmq_speaks_amqp(rabbitmq_server):
    assert (broker_kind(rabbitmq_server.url), amqp.__name__) == ("amqp", "amqp")
