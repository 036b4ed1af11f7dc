"""Sends hints from a thread of its own, so that no broker ever holds up an event loop."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import TYPE_CHECKING

from holdfast.dispatch.celery_broker import connect_once
from holdfast.dispatch.celery_task import RUN_TASK
from holdfast.errors import DispatchError
from holdfast.metrics import DISPATCH_FAILURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery
    from kombu import Connection, Producer

    from holdfast.model import Dispatch

logger = logging.getLogger(__name__)

WAITING_MAX = 100_000
"""Hints that wait to be sent; more are refused, and the store's repair announces those jobs."""

BATCH_MAX = 500
CLOSE_SECONDS = 5.0
RETRY_SECONDS = 1.0
"""Pause after a batch that could not be sent."""


class CeleryDispatcher:
    """Hands hints to a thread with a held connection; does not wait for the broker.

    What cannot be sent is dropped, counted and told once: the job is queued in the store, and
    workers come for it by themselves within seconds.
    """

    def __init__(self, app: Celery) -> None:
        """Start the thread; it connects at the first hint.

        Args:
            app: An application with our task installed.
        """
        self._app = app
        self._queue_name = app.tasks[RUN_TASK].queue_name
        self._waiting: queue.SimpleQueue[Dispatch | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._connection: Connection | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="holdfast-publisher", daemon=True)
        self._thread.start()

    async def dispatch(self, dispatches: Sequence[Dispatch]) -> None:
        """Hand the hints to the thread.

        Raises:
            DispatchError: Too many are waiting already.
        """
        waiting = self._waiting.qsize()
        if waiting + len(dispatches) > WAITING_MAX:
            DISPATCH_FAILURES.inc(len(dispatches))
            raise DispatchError(
                f"{waiting} announcements wait for the broker already, {len(dispatches)} more dropped",
                hint="the jobs are safe in the store; see to the broker",
            )
        for each in dispatches:
            self._waiting.put(each)

    async def close(self) -> None:
        """Send what waits, for a few seconds at most, and end the thread."""
        self._closing.set()
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)
        if self._thread.is_alive():
            logger.warning("announcements dropped", extra={"count": self._waiting.qsize()})

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._publish_twice(batch)
            except Exception as error:  # noqa: BLE001 - this thread is the only one that sends
                self._told_failure(len(batch), error)
                self._closing.wait(RETRY_SECONDS)
            else:
                if self._failing:
                    logger.info("broker reached again")
                self._failing = False
        self._disconnect()

    def _next_batch(self) -> list[Dispatch]:
        """Wait for hints and return what is there; nothing once closed and all is taken."""
        batch: list[Dispatch] = []
        while len(batch) < BATCH_MAX:
            try:
                each = self._waiting.get(block=not batch)
            except queue.Empty:
                break
            if each is None:
                if batch:
                    self._waiting.put(None)
                break
            batch.append(each)
        return batch

    def _publish_twice(self, batch: list[Dispatch]) -> None:
        """Publish; on a new connection if the held one turns out to be dead."""
        held = self._connection is not None
        try:
            self._publish(batch)
        except Exception:
            self._disconnect()
            if not held:
                raise
            try:
                self._publish(batch)
            except Exception:
                self._disconnect()
                raise

    def _publish(self, batch: list[Dispatch]) -> None:
        producer = self._producer()
        if producer.supports_batch_publish:
            with producer.batch(max_size=BATCH_MAX):
                self._send(producer, batch)
        else:
            self._send(producer, batch)

    def _producer(self) -> Producer:
        if self._connection is None:
            connection = self._app.connection_for_write()
            try:
                connect_once(connection)
            except Exception:
                connection.release()
                raise
            self._connection = connection
            self._held_producer = self._app.amqp.Producer(connection)
        return self._held_producer

    def _send(self, producer: Producer, batch: list[Dispatch]) -> None:
        for each in batch:
            self._app.send_task(
                RUN_TASK,
                (each.job_id,),
                task_id=f"{each.job_id}.{each.number}",
                queue=self._queue_name(each.queue),
                producer=producer,
                ignore_result=True,
                retry=False,
            )

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.release()
            except Exception as error:  # noqa: BLE001 - dead ones raise anything, it is given up anyway
                logger.debug("connection not closed in order", extra={"error": type(error).__name__})

    def _told_failure(self, count: int, error: Exception) -> None:
        DISPATCH_FAILURES.inc(count)
        if not self._failing:
            logger.error(
                "broker cannot be reached, workers will find jobs by themselves",
                extra={"dropped": count, "error": type(error).__name__},
            )
        self._failing = True
