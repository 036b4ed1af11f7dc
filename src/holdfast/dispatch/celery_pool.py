"""A Celery worker pool that runs jobs on one asyncio loop, thousands at once, in one process.

Celery's consumer keeps the main thread; the loop, with a worker of the engine on it, has a thread of its
own. Whatever touches Celery's state is posted to Celery's thread and done there in order. A message is
acknowledged once the claim is durable (the accept callback) or refused. Tasks that are not ours run in a
few threads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal as signals_of_os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery import bootsteps, signals
from celery.concurrency.base import BasePool, apply_target
from celery.exceptions import Ignore, Reject, Retry
from celery.worker import state

from holdfast.dispatch.celery_broker import check_queues
from holdfast.dispatch.celery_task import RUN_TASK, RunTask, named_job
from holdfast.errors import ConfigError, HoldfastError, JobFailedError
from holdfast.metrics import BROKER_CONNECTED
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from celery.worker.consumer import Consumer
    from kombu.asynchronous import Hub

    from holdfast.dispatch.base import JobRunner
    from holdfast.model import Job

logger = logging.getLogger(__name__)

OTHER_THREADS = 8
"""Threads for tasks that are not ours."""

PREFETCH_MAX = 32
"""Messages that RabbitMQ hands out ahead of their acknowledgement. It comes with the claim, so this is
the depth of a pipeline, not the number of jobs; a larger one keeps messages from workers with room."""

_TICK_SECONDS = 1.0
_ECHO_SECONDS = 0.5
"""The same signal again within this time is an echo by `timeout`, `make` and their like."""

_END_SIGNALS = (signals_of_os.SIGINT, signals_of_os.SIGTERM, signals_of_os.SIGQUIT)

_END_SECONDS = 5.0
"""What Celery gets to leave after the last job has, when a signal asked for the end."""


class JobHandle:
    """A message under way; Celery keeps a weak reference to it."""

    __slots__ = (
        "__weakref__", "_connection", "accept", "done", "job_id", "pool", "settled", "started_at"
    )  # fmt: skip

    def __init__(
        self, pool: AsyncioPool, job_id: str, accept: Callable[..., Any], done: Callable[..., Any]
    ) -> None:
        self.pool = pool
        self.job_id = job_id
        self.accept = accept
        self.done = done
        self.started_at = time.monotonic()
        self.settled = False
        self._connection = pool.connection

    @property
    def answerable(self) -> bool:
        """Whether the connection that it came by is still there.

        If not, the broker has given the message to another consumer or will.
        """
        return self._connection is not None and self._connection is self.pool.connection

    def terminate(self, signal: int | None = None) -> None:
        """Tell Celery nothing more; the job goes on.

        Celery terminates requests when it shuts down cold, too. An operator who wants the job's end
        revokes it, which Celery announces by a signal.
        """
        self.settled = True


class ThreadHandle:
    """A task that is not ours, in a thread."""

    def terminate(self, signal: int | None = None) -> None:
        """Tell that nothing can end a thread but its code."""
        logger.warning("task cannot be terminated in this pool, it runs to its end")

    def ended(self, _: Future[Any]) -> None:
        """Be called at the end of the task, and held until then."""


class AsyncioPool(BasePool):  # type: ignore[misc] # Celery ships no types
    """Hands messages of our task to a `JobRunner`."""

    signal_safe = False
    body_can_be_buffer = True
    task_join_will_block = False

    def __init__(self, limit: int | None = None, *args: Any, **options: Any) -> None:
        """Prepare; as `BasePool`.

        Raises:
            ConfigError: The application has not installed our task for running jobs.
        """
        super().__init__(limit, *args, **options)
        task = self.app.tasks.get(RUN_TASK)
        if not isinstance(task, RunTask) or task.serve is None:
            raise ConfigError(
                "this Celery application has no Holdfast application to run jobs of",
                hint="make it with App(celery=…) in a module that the worker imports",
            )
        self._task = task
        self._runner: JobRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._ready = threading.Event()
        self.failure: BaseException | None = None
        """Why the worker could not start or has died."""
        self._mail: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()
        self._hub: Hub | None = None
        self.connection: Any = None
        """The consumer's, to the broker; a new one after each reconnect."""
        self._messages: set[asyncio.Task[None]] = set()
        self._others = ThreadPoolExecutor(OTHER_THREADS, thread_name_prefix="celery-task")
        self._thread = threading.Thread(target=self._serve, name="holdfast-jobs", daemon=True)
        self._signalled_at: float | None = None
        self._all_queues: frozenset[str] = frozenset()

    # what Celery calls, on its thread ---------------------------------------------------------

    def on_start(self) -> None:
        """Start the worker.

        Raises:
            SystemExit: It cannot; see `failure`.
        """
        if threading.current_thread() is threading.main_thread():
            # Celery's own handlers cancel what runs, and wait for the broker, at a second signal.
            for each in _END_SIGNALS:
                signals_of_os.signal(each, self._on_signal)
        signals.task_revoked.connect(self._on_revoked, sender=self._task, weak=False)
        try:
            check_queues(self.app)
        except ConfigError as error:
            self.failure = error
            logger.error("worker failed: %s", error)  # noqa: TRY400 - the message says it all
            raise SystemExit(1) from None
        self._thread.start()
        self._ready.wait()
        if self.failure is not None:
            raise SystemExit(1)

    def register_with_event_loop(self, loop: Hub) -> None:
        """Use Celery's loop; called again after every reconnect."""
        self._hub = loop
        loop.call_repeatedly(_TICK_SECONDS, self._tick)
        self._deliver()

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> Any:
        """Take a message: offer the job it names, or run a task that is not ours in a thread."""
        name, _uuid, request = args[:3]
        if name != RUN_TASK or accept_callback is None or callback is None:
            return self._run_other(target, args, kwargs, callback, accept_callback)
        job_id = named_job(request["args"])
        handle = JobHandle(self, job_id or "", accept_callback, callback)
        if job_id is None:
            logger.error("message dropped that names no job")
            self._answer(handle, callback, _ended_by(Reject(requeue=False), handle))
        else:
            self._call(self._take, handle)
        return handle

    def _run_other(self, *call: Any) -> ThreadHandle:
        running, handle = self._others.submit(apply_target, *call), ThreadHandle()
        # Celery refers to it weakly, so it is kept as long as the task runs.
        running.add_done_callback(handle.ended)
        return handle

    def on_stop(self) -> None:
        """Drain the worker; what is posted meanwhile is done here, for Celery's loop has ended."""
        self._call_leave()
        while self._thread.is_alive():
            self._deliver(wait_seconds=0.05)
        self._deliver()
        self._others.shutdown()

    on_terminate = on_stop

    def grow(self, n: int = 1) -> None:
        """Run `n` more jobs at once."""
        self._resize(self.limit + n)

    def shrink(self, n: int = 1) -> None:
        """Run `n` fewer jobs at once; what runs ends by itself."""
        self._resize(max(1, self.limit - n))

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Kill no process: `JobHandle.terminate` ends the job."""

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),
            "running-jobs": self._runner.running if self._runner else 0,
            "has-room": self.has_room,
            "draining": self.signalled,
        }

    @property
    def signalled(self) -> bool:
        """Whether a signal asked for the end."""
        return self._signalled_at is not None

    # what our consumer step calls, on Celery's thread ------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether more messages are wanted."""
        return self._runner is not None and self._runner.has_room

    def on_connected(self, consumer: Consumer | None) -> None:
        """Know the consumer while it has a connection; None when it has lost it."""
        self.connection = None if consumer is None else consumer.connection
        BROKER_CONNECTED.set(consumer is not None)
        if self._runner is not None:
            self._runner.consumer_seen(connected=consumer is not None)

    def cancel_job(self, job_id: str) -> None:
        """Request a job's end in the store."""
        if self._runner is not None:
            self._call(self._spawn, self._runner.cancel(job_id))

    # Celery's thread ----------------------------------------------------------------------------

    def _tick(self) -> None:
        self._deliver()
        if not self._thread.is_alive() and not self.signalled:
            logger.critical("the thread that runs jobs has ended, so does this worker")
            state.should_stop = 1
        if self.connection is not None and self._runner is not None:
            self._runner.consumer_seen(connected=True)
            self._call(self._runner.serve, self._queues())

    def _queues(self) -> tuple[str, ...] | None:
        """Return the job queues that Celery consumes at present; None for all when not told which."""
        queues = self.app.amqp.queues
        consumed = frozenset(queues.consume_from)
        if queues.consume_from is queues._default_consume_from:  # noqa: SLF001 - there is no other way
            self._all_queues = self._all_queues or consumed
            if consumed >= self._all_queues:
                return None
        return tuple(self._task.job_queue(name) for name in sorted(consumed))

    def _resize(self, limit: int) -> None:
        self.limit = limit
        if self._runner is not None:
            self._call(self._runner.resize, limit)

    def _on_signal(self, number: int, _: Any) -> None:
        now = time.monotonic()
        if self._signalled_at is None:
            self._signalled_at = now
            name = signals_of_os.Signals(number).name
            logger.info("draining", extra={"signal": name})
            state.should_stop = 0
            self._call_leave()
            signals.worker_shutting_down.send(sender=None, sig=name, how="Warm", exitcode=0)
        elif now - self._signalled_at > _ECHO_SECONDS:
            logger.warning("stopping at once, leases run out by themselves")
            os._exit(1)

    def _on_revoked(self, request: Any = None, **_: Any) -> None:
        """Cancel the job itself, durably, when an operator has revoked or terminated its message."""
        if (job_id := named_job(request.args)) is not None:
            self.cancel_job(job_id)

    def _deliver(self, wait_seconds: float = 0.0) -> None:
        """Do what the loop has posted."""
        while True:
            try:
                function, arguments = self._mail.get(
                    block=wait_seconds > 0, timeout=wait_seconds or None
                )
            except queue.Empty:
                return
            try:
                function(*arguments)
            except Exception:
                # Such as an acknowledgement on a connection that is gone: the message comes again.
                logger.exception("callback of Celery failed")

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function on the loop, if it still runs."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(function, *arguments)
            except RuntimeError:
                logger.debug("the loop is closed", extra={"function": function.__name__})

    def _call_leave(self) -> None:
        if self._leave is not None:
            self._call(self._leave.set)

    # the loop's thread ----------------------------------------------------------------------------

    def _serve(self) -> None:
        serve = self._task.serve
        try:
            if serve is not None:
                serve(self.limit, self._queues(), self._use)
        except HoldfastError as error:
            self.failure = error
            logger.error("worker failed: %s", error)  # noqa: TRY400 - the message says it all
        except BaseException as error:
            self.failure = error
            logger.exception("worker failed")
        finally:
            self._ready.set()
            if self.signalled:
                # Celery may hang on its broker, and other tasks may take long.
                status = 0 if self.failure is None else 1
                limit = threading.Timer(_END_SECONDS, _end_now, (status,))
                limit.daemon = True
                limit.start()

    async def _use(self, runner: JobRunner) -> None:
        self._loop, self._leave, self._runner = asyncio.get_running_loop(), asyncio.Event(), runner
        runner.tell_room(self._wake)
        self._ready.set()
        await self._leave.wait()

    @property
    def _leaving(self) -> bool:
        return self._leave is not None and self._leave.is_set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._messages.add(task)
        task.add_done_callback(self._messages.discard)

    def _take(self, handle: JobHandle) -> None:
        self._spawn(self._run(handle))

    async def _run(self, handle: JobHandle) -> None:
        if self._runner is None or self._leaving:
            # Not acknowledged: RabbitMQ gives it to another worker, for Redis the repair does.
            return
        try:
            attempt = await self._runner.offer(handle.job_id)
        except TimeoutError:
            # Back into the queue: another worker may have room by now, and RabbitMQ ends connections
            # that hold messages for long.
            self._answer(handle, handle.done, _ended_by(Reject(requeue=True), handle))
            return
        except Exception:
            # A message that is never answered takes up its consumer's prefetch for good.
            logger.exception("claim failed, left to the repair", extra={"job_id": handle.job_id})
            attempt = None
        if attempt is None:
            # Acknowledged without any event: nothing was run for it.
            self._answer(handle, handle.done, _ended_by(Ignore(), handle))
            return
        self._answer(handle, handle.accept, os.getpid(), time.monotonic())
        job = await attempt
        if not handle.settled:
            self._post(handle.done, _outcome(job, handle))

    def _answer(self, handle: JobHandle, function: Callable[..., Any], *arguments: Any) -> None:
        """Acknowledge or reject a message, unless its connection is gone."""

        def answer() -> None:
            if handle.answerable:
                function(*arguments)

        self._post(answer)

    def _post(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have Celery's thread call a function, after all that was posted before."""
        self._mail.put((function, arguments))
        self._wake()

    def _wake(self) -> None:
        """Have Celery's loop deliver the mail, and ask the broker again if there is room."""
        if self._hub is not None:
            self._hub.call_soon(self._deliver)


class ConsumerWatch(bootsteps.StartStopStep):  # type: ignore[misc] # Celery ships no types
    """Tells our pool about the connection, and takes no more messages than the pool wants."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Consumer, **options: Any) -> None:
        super().__init__(parent, **options)
        if self.include_if(parent):
            parent.initial_prefetch_count = min(parent.initial_prefetch_count, PREFETCH_MAX)

    def include_if(self, parent: Consumer) -> bool:
        """Leave consumers with another pool alone."""
        return isinstance(parent.pool, AsyncioPool)

    def start(self, parent: Consumer) -> None:
        """Watch a new connection."""
        parent.pool.on_connected(parent)
        if parent.connection.transport.driver_type != "redis":
            return
        qos = parent.task_consumer.channel.qos
        can_consume = qos.can_consume
        # A message that stays in Redis is there for a worker with room.
        qos.can_consume = lambda: parent.pool.has_room and can_consume()

    def stop(self, parent: Consumer) -> None:
        """Note that the connection is gone."""
        parent.pool.on_connected(None)


def _end_now(status: int) -> None:
    logging.shutdown()
    os._exit(status)


def _ended_by(error: Exception, handle: JobHandle) -> tuple[int, Any, float]:
    """Say it to Celery's `Request.on_success`, which takes failures, too."""
    try:
        raise error
    except type(error):
        return (1, ExceptionInfo(), time.monotonic() - handle.started_at)


def _outcome(job: Job | None, handle: JobHandle) -> tuple[int, Any, float]:
    """Say what became of the attempt as Celery's monitors understand it."""
    if job is None:
        return _ended_by(Retry("the lease was lost"), handle)
    if job.status is JobStatus.FAILED:
        told = job.error.type if job.error else "no error on record"
        return _ended_by(JobFailedError(f"job {job.job_id!r} failed: {told}"), handle)
    if not job.status.terminal:
        return _ended_by(Retry(job.status.value), handle)
    return (0, job.status.value, time.monotonic() - handle.started_at)
