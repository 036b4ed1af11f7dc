"""Real servers as fixtures: each pytest process starts its own when a test first asks for it.

Own servers per process, not shared ones: starting takes a second (RabbitMQ: six), and nothing has to be
agreed between processes about names, limits or who stops what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.ids import new_id

# What the servers need is loaded only by those tests that use them.
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.testing.servers.postgres import Postgres
    from holdfast.testing.servers.rabbitmq import RabbitMQ
    from holdfast.testing.servers.redis import Redis
    from holdfast.testing.servers.s3 import S3

STARTING_SECONDS = {"postgres_server": 10, "rabbitmq_server": 60, "s3_server": 20}
"""More time for a test that may have to start the server: the limit of a test includes its fixtures.
Applies where the fixture is named by the test or by another fixture, not to `getfixturevalue`."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    limit = float(config.getini("timeout") or 0)
    if not limit:
        return
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        extra = sum(seconds for name, seconds in STARTING_SECONDS.items() if name in fixtures)
        if extra and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(limit + extra))


@pytest.fixture(scope="session")
def postgres_server(requires: Callable[..., None]) -> Iterator[Postgres]:
    """A PostgreSQL that is fast because it need not survive a crash of the machine."""
    requires("initdb", "postgres")
    from holdfast.testing.servers.postgres import Postgres

    with Postgres(fsync=False) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The URL of an empty database of the test's own; whoever is connected at the end is cut off."""
    name = new_id("test")
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def redis_server(requires: Callable[..., None]) -> Iterator[Redis]:
    """A Redis in memory, shared by the tests of a process: use keys of your own, or `flushall()`."""
    requires("redis-server")
    from holdfast.testing.servers.redis import Redis

    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(requires: Callable[..., None]) -> Iterator[RabbitMQ]:
    """A RabbitMQ shared by the tests of a process: use queues of your own."""
    requires("rabbitmq-server")
    from holdfast.testing.servers.rabbitmq import RabbitMQ

    with RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """An S3 with one bucket, shared by the tests of a process: use a prefix or bucket of your own."""
    from holdfast.testing.servers.s3 import S3

    with S3() as server:
        yield server
