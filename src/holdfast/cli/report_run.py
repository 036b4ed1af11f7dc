"""Run a report in this process: submit or find it, work on it, show it, write the file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.cli.check_provider import described
from holdfast.cli.exits import ExitStatus, status_of_job
from holdfast.cli.files import save
from holdfast.cli.interruption import Interruption
from holdfast.cli.report_order import submit_order
from holdfast.cli.report_state import ReportState, Stage
from holdfast.cli.report_summary import print_summary
from holdfast.cli.report_view import view_for_terminal
from holdfast.cli.wording import counted
from holdfast.clock import SystemClock
from holdfast.errors import ArtifactError
from holdfast.model import JobStatus, SuspendReason

if TYPE_CHECKING:
    from holdfast.cli.report_options import ReportOptions
    from holdfast.cli.report_order import ReportOrder
    from holdfast.cli.report_view import View
    from holdfast.cli.session import Session
    from holdfast.engine.client import JobClient
    from holdfast.model import Job
    from holdfast.wiring import App

_STOPPED_AT_ONCE = (
    "Stopped at once: calls in flight may have to be paid again. "
    "The same command resumes, within 15 seconds of starting."
)


async def run_report(session: Session, order: ReportOrder, options: ReportOptions) -> int:
    """Bring the report to its end, or to where it can be resumed; return the exit status."""
    app = session.application()
    async with app.client() as client:
        job = await submit_order(client, order)
        if options.retry and job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
            job = await client.retry(job.job_id)
        if order.budget.usd is not None and order.budget != job.budget and not job.status.terminal:
            job = await client.set_budget(job.job_id, order.budget)
        before = job
        if not job.status.terminal:
            run = _Run(app, client, order, view_for_terminal(), session)
            job = await run.to_the_end(job)
            if not job.status.terminal:
                return await run.report_stop(job)
        return await _conclude(app, client, order, options, before=before, job=job)


class _Run:
    """One stretch of work on the job, with its display."""

    def __init__(
        self, app: App, client: JobClient, order: ReportOrder, view: View, session: Session
    ) -> None:
        self._app = app
        self._session = session
        self._client = client
        self._order = order
        self._view = view
        self._state: ReportState | None = None
        self._interruption = Interruption(self._on_first_signal, self._on_second_signal)
        self._parked = asyncio.Event()
        """Set when only a higher budget lets the job go on."""

    async def to_the_end(self, job: Job) -> Job:
        """Work until the job is terminal, parked, or the process is told to stop."""
        records = await self._client.records(job.job_id)
        self._state = ReportState.of(job, records, calls_of(self._order), SystemClock())
        self._tell_beginning(job)
        with self._interruption.watching():
            self._view.open(self._state)
            # After opening, so that the view can keep log lines apart from what it draws. How a
            # failed attempt ends is told in the summary.
            self._session.start_logging(level_default="error")
            try:
                following = asyncio.create_task(self._follow(job))
                async with self._app.worker(queues=(job.queue,), concurrency=1):
                    await self._until_something_ends(job)
                    self._state.stopping = self._interruption.received is not None
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            finally:
                self._view.close()
        return await self._client.get(job.job_id)

    async def _until_something_ends(self, job: Job) -> None:
        waits = [
            asyncio.ensure_future(wait)
            for wait in (
                self._client.wait(job.job_id),
                self._interruption.requested.wait(),
                self._parked.wait(),
            )
        ]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _follow(self, job: Job) -> None:
        state = self._state
        if job.suspend_reason is SuspendReason.BUDGET:
            # Parked by an earlier command: no event will come to tell.
            self._parked.set()
        async for event in self._client.events(job.job_id, after=job.event_seq):
            if state is None:
                return
            state.apply(event)
            self._view.update()
            if state.suspended == SuspendReason.BUDGET:
                self._parked.set()

    def _tell_beginning(self, job: Job) -> None:
        state, settings = self._state, self._app.settings
        say = self._view.say
        say(self._order.title, "strong")
        say(f"{job.job_id} · state kept in {settings.home}", "quiet")
        say(f"model calls answered by: {described(settings)}", "quiet")
        if state is None or job.epoch == 0:
            return
        if state.resumed:
            say(
                f"resuming: {state.resumed:,} of {counted(state.calls_total, 'call')} are on record,"
                " none will be made again"
            )
        else:
            say("resuming: no call was finished before")
        if job.status is JobStatus.RUNNING:
            say(
                "another process still holds the job; if it was killed,"
                " this one takes over within 15 seconds"
            )

    def _on_first_signal(self) -> None:
        if self._state is not None:
            self._state.stopping = True
        self._view.say(_stopping(self._state))

    def _on_second_signal(self) -> None:
        self._view.close()
        self._view.say(_STOPPED_AT_ONCE)

    async def report_stop(self, job: Job) -> int:
        """Say where a job stands that has not ended, and return the exit status."""
        # What is on record, not what the display has heard of so far.
        records = await self._client.records(job.job_id)
        state = ReportState.of(job, records, calls_of(self._order), SystemClock())
        on_record, total = len(state.written), state.calls_total
        if self._interruption.received is None:
            self._view.say(
                f"Parked: the budget is used up after {on_record:,} of {counted(total, 'call')}. "
                f"The same command with a higher --budget goes on, or: "
                f"holdfast jobs budget {job.job_id} --usd AMOUNT"
            )
            return ExitStatus.PARKED
        self._view.say(
            f"Stopped: {on_record:,} of {counted(total, 'call')} are on record. "
            "The same command resumes."
        )
        return self._interruption.exit_status


def _stopping(state: ReportState | None) -> str:
    writing = state is not None and state.stage is Stage.WRITING
    what = "the calls in flight" if writing else "what is under way"
    return f"Stopping: finishing {what}, press Ctrl-C again to stop at once. The same command resumes."


def calls_of(order: ReportOrder) -> int:
    """Return how many model calls the report takes when nothing has to be repeated."""
    from holdfast.apps.reports.jobs import PRODUCTS

    product = next(found for found in PRODUCTS if found.kind == order.kind)
    return len(product.manifest(order.request))


async def _conclude(
    app: App, client: JobClient, order: ReportOrder, options: ReportOptions, *, before: Job, job: Job
) -> int:
    """Write the file of a completed report, or say why there is none."""
    if job.status is JobStatus.COMPLETED:
        result = client.output_of(job)
        artifact = next(
            (found for found in await client.artifacts(job.job_id) if found.name == result.artifact),
            None,
        )
        if artifact is None:
            raise ArtifactError(
                f"job {job.job_id!r} has no file {result.artifact!r} though it completed",
                hint=f"look at it with 'holdfast jobs show {job.job_id}'",
            )
        await save(client, artifact, order.out)
    print_summary(app.settings, order, job, again=before.status.terminal, as_json=options.as_json)
    return status_of_job(job.status)
