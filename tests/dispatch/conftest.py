"""Both brokers, one suite."""

from collections.abc import Iterator

import pytest
from celery import Celery

from holdfast.dispatch.celery import celery_app, install
from holdfast.ids import new_id
from holdfast.testing.servers.base import Server


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A broker that runs, shared with the tests before and after."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    yield server
    if not server.running:
        server.start()


@pytest.fixture
def prefix() -> str:
    """Before the names of the test's own queues."""
    return f"{new_id('test')}."


@pytest.fixture
def celery(broker: Server, prefix: str) -> Iterator[Celery]:
    """An application with our task, for announcing only."""
    app = install(celery_app(broker.url, queues=["quick"], prefix=prefix), prefix=prefix)
    yield app
    app.close()
