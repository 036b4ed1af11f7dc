"""Hints reach the broker without holding up the loop, and a broker that is away is told and survived."""

import asyncio
import logging
import threading

import pytest
from kombu import Connection

from holdfast.dispatch import celery_publisher
from holdfast.dispatch.celery import celery_app, install
from holdfast.dispatch.celery_publisher import CeleryDispatcher
from holdfast.dispatch.celery_task import RUN_TASK
from holdfast.errors import DispatchError
from holdfast.metrics import DISPATCH_FAILURES
from holdfast.model import Dispatch
from holdfast.testing.servers.base import free_port
from holdfast.testing.signals import eventually

pytestmark = pytest.mark.timeout(90)


def hints(count, *, queue="quick"):
    return [Dispatch(job_id=f"job_{number}", queue=queue, number=1) for number in range(count)]


def messages(celery, queue):
    """Take all messages that wait in a queue."""
    found = []
    with celery.connection_for_read() as connection, connection.channel() as channel:
        bound = celery.amqp.queues[queue](channel)
        bound.declare()
        while (message := bound.get(no_ack=True)) is not None:
            found.append(message)
    return found


def failures():
    return DISPATCH_FAILURES._value.get()


async def test_hint_is_a_message_with_the_job_id_and_nothing_else(celery, prefix):
    dispatcher = CeleryDispatcher(celery)

    await dispatcher.dispatch([Dispatch(job_id="job_1", queue="quick", number=7)])
    await dispatcher.close()

    (message,) = await asyncio.to_thread(messages, celery, f"{prefix}quick")
    arguments, options, _ = message.payload
    assert (arguments, options) == (["job_1"], {})
    assert message.headers["task"] == RUN_TASK
    assert message.headers["id"] == "job_1.7"
    assert (message.content_type, message.headers["eta"]) == ("application/json", None)


async def test_hints_go_to_the_queues_of_their_jobs(celery, prefix):
    dispatcher = CeleryDispatcher(celery)

    await dispatcher.dispatch([*hints(3, queue="quick"), *hints(2, queue="other")])
    await dispatcher.close()

    found = [await asyncio.to_thread(messages, celery, f"{prefix}{name}") for name in ("quick", "other")]
    assert [len(each) for each in found] == [3, 2]


async def test_many_hints_are_handed_over_while_the_broker_takes_none(celery, prefix, monkeypatch):
    """No hint waits for the broker on the loop; all are sent in the end."""
    handed_over, publish = threading.Event(), CeleryDispatcher._publish

    def publish_late(*arguments):
        assert handed_over.wait(60)
        return publish(*arguments)

    monkeypatch.setattr(CeleryDispatcher, "_publish", publish_late)
    monkeypatch.setattr(celery_publisher, "CLOSE_SECONDS", 60)
    dispatcher = CeleryDispatcher(celery)

    for hint in hints(2_000):
        await dispatcher.dispatch([hint])
    handed_over.set()
    await dispatcher.close()

    found = await asyncio.to_thread(messages, celery, f"{prefix}quick")
    assert len({message.headers["id"] for message in found}) == 2_000


async def test_connection_that_died_is_replaced_without_losing_a_hint(celery, prefix, broker):
    dispatcher = CeleryDispatcher(celery)
    await dispatcher.dispatch(hints(1))
    await eventually(lambda: len(messages(celery, f"{prefix}quick")) == 1)
    before = failures()

    assert dispatcher._connection is not None
    dispatcher._connection.close()
    await dispatcher.dispatch(hints(2))
    await dispatcher.close()

    assert len(await asyncio.to_thread(messages, celery, f"{prefix}quick")) == 2
    assert failures() == before


async def test_broker_that_is_away_is_told_once_and_raises_nothing(monkeypatch, caplog):
    monkeypatch.setattr(celery_publisher, "RETRY_SECONDS", 0.01)
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    dispatcher = CeleryDispatcher(install(celery_app(url)))
    before = failures()

    await dispatcher.dispatch(hints(2))
    await eventually(lambda: failures() == before + 2)
    await dispatcher.dispatch(hints(3))
    await eventually(lambda: failures() == before + 5)
    await dispatcher.close()

    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in told] == [
        "broker cannot be reached, workers will find jobs by themselves"
    ]
    assert "secret" not in caplog.text


async def test_broker_that_is_back_is_used_again(celery, prefix, broker, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(celery_publisher, "RETRY_SECONDS", 0.05)
    dispatcher = CeleryDispatcher(celery)
    await asyncio.to_thread(broker.kill)
    before = failures()
    await dispatcher.dispatch(hints(1))
    await eventually(lambda: failures() > before)

    await asyncio.to_thread(broker.start)
    await dispatcher.dispatch(hints(4))
    await dispatcher.close()

    assert len(await asyncio.to_thread(messages, celery, f"{prefix}quick")) == 4
    assert "broker reached again" in caplog.text


async def test_more_hints_than_fit_are_refused(monkeypatch):
    monkeypatch.setattr(celery_publisher, "WAITING_MAX", 5)
    entered, go_on = threading.Event(), threading.Event()

    def hang(*_):
        entered.set()
        go_on.wait(10)

    monkeypatch.setattr(CeleryDispatcher, "_publish", hang)
    dispatcher = CeleryDispatcher(install(celery_app("redis://127.0.0.1:1/0")))
    await dispatcher.dispatch(hints(1))
    await eventually(entered.is_set)

    await dispatcher.dispatch(hints(4))
    with pytest.raises(DispatchError, match="4 announcements wait for the broker already, 2 more"):
        await dispatcher.dispatch(hints(2))

    go_on.set()
    await dispatcher.close()


def test_no_message_format_but_json_is_accepted():
    app = celery_app("redis://127.0.0.1:1/0")
    assert list(app.conf.accept_content) == ["json"]
    assert isinstance(app.connection_for_read(), Connection)
