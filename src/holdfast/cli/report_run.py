"""Run a report in this process: submit or find it, work on it, show it, write the file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast.cli.check_provider import described
from holdfast.cli.exits import ExitStatus, status_of_job
from holdfast.cli.interruption import Interruption
from holdfast.cli.report_family import Family, family_records, parked_parts
from holdfast.cli.report_order import submit_order
from holdfast.cli.report_parts import parts_of_order, save_part
from holdfast.cli.report_state import ReportState, Stage
from holdfast.cli.report_summary import print_summary
from holdfast.cli.report_view import view_for_terminal
from holdfast.cli.wording import counted
from holdfast.clock import SystemClock
from holdfast.model import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.apps.reports.manifest import Batch
    from holdfast.cli.report_options import ReportOptions
    from holdfast.cli.report_order import ReportOrder
    from holdfast.cli.report_view import View
    from holdfast.cli.session import Session
    from holdfast.engine.client import JobClient
    from holdfast.model import Job
    from holdfast.settings import Settings
    from holdfast.wiring import App

PARTS_AT_ONCE = 4
"""Slots for a bundle: its own, which it leaves, and one for each part."""

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
        self._batches = batches_of(order, app.settings)
        self._interruption = Interruption(self._on_first_signal, self._on_second_signal)

    async def to_the_end(self, job: Job) -> Job:
        """Work until the job is terminal, parked, or the process is told to stop."""
        self._state = state = await self._state_of(job)
        self._tell_beginning(job)
        words = sum(batch.weight for batch in self._batches)
        family = Family(self._client, state, self._view.update, words=words)
        with self._interruption.watching():
            self._view.open(state)
            # After opening, so that the view can keep log lines apart from what it draws. How a
            # failed attempt ends is told in the summary.
            self._session.start_logging(level_default="error")
            try:
                following = asyncio.create_task(family.follow(job))
                # A bundle leaves its slot while its parts are at work.
                slots = PARTS_AT_ONCE if self._order.is_bundle else 1
                async with self._app.worker(queues=(job.queue,), concurrency=slots):
                    await self._until_something_ends(job, family)
                    state.stopping = self._interruption.received is not None
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            finally:
                self._view.close()
        return await self._client.get(job.job_id)

    async def _state_of(self, job: Job) -> ReportState:
        records = await family_records(self._client, job)
        return ReportState.of(job, records, len(self._batches), SystemClock())

    async def _until_something_ends(self, job: Job, family: Family) -> None:
        waits = [
            asyncio.ensure_future(wait)
            for wait in (
                self._client.wait(job.job_id),
                self._interruption.requested.wait(),
                family.parked.wait(),
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
        state = await self._state_of(job)
        on_record, total = len(state.written), state.calls_total
        if self._interruption.received is None:
            parked = [job, *await parked_parts(self._client, job)][-1]
            self._view.say(
                f"Parked: the budget is used up after {on_record:,} of {counted(total, 'call')}. "
                f"The same command with a higher --budget goes on, or: "
                f"holdfast jobs budget {parked.job_id} --usd AMOUNT"
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


def batches_of(order: ReportOrder, settings: Settings) -> Sequence[Batch]:
    """Return what the report takes: a model call for each batch, when nothing has to be repeated."""
    from holdfast.apps.reports.jobs import batches_of_order

    return batches_of_order(order.kind, order.request, terms_file=settings.reports)


async def _conclude(
    app: App, client: JobClient, order: ReportOrder, options: ReportOptions, *, before: Job, job: Job
) -> int:
    """Write the files that are ready, and say how the report ended."""
    parts = await parts_of_order(client, order, job)
    for part in parts:
        await save_part(client, part)
    again, as_json = before.status.terminal, options.as_json
    print_summary(app.settings, order, job, parts, again=again, as_json=as_json)
    return status_of_job(job.status)
