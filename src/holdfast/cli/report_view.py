"""The progress of a report on the screen: live on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from holdfast.cli import console
from holdfast.cli.report_state import ReportState, Stage
from holdfast.cli.wording import clock_time, counted, money, printable, rough_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_FRAMES_PER_SECOND = 8
_BAR_WIDTH_MAX = 48
_LINE_SECONDS = 5.0
"""Plain lines are at least this far apart, changes of stage excepted."""

_SHOWN = (Stage.PRECOMPUTE, Stage.WRITING, Stage.RENDERING)
_WAITS = {
    "budget": "waiting for a higher budget",
    "quota": "waiting: the provider refuses calls (quota or key)",
    "sleep": "waiting before the next try",
    "signal": "waiting for a signal",
    "children": "waiting for other jobs",
}


class View(Protocol):
    """Shows a state as it changes."""

    def open(self, state: ReportState) -> None:
        """Begin to show."""
        ...

    def update(self) -> None:
        """Take note that the state has changed."""
        ...

    def say(self, words: str, style: str = "") -> None:
        """Tell something that stays on the screen."""
        ...

    def close(self) -> None:
        """Leave the screen as it was found."""
        ...


def view_for_terminal() -> View:
    """Return the view that fits where stderr goes."""
    out = console.stderr()
    return LiveView() if out.is_terminal and not out.is_dumb_terminal else PlainView()


class LiveView:
    """Redraws a few lines at the bottom of the terminal."""

    def __init__(self) -> None:
        self._console = console.stderr()
        self._live: Live | None = None
        self._state: ReportState | None = None
        self._spinner = Spinner("dots", style="busy")

    def open(self, state: ReportState) -> None:
        self._state = state
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
        )
        self._live.start()

    def update(self) -> None:
        """Do nothing: the next frame shows it."""

    def say(self, words: str, style: str = "") -> None:
        self._console.print(Text(printable(words), style=style))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        state = self._state
        if state is None:
            return Text()
        stages = Table.grid(padding=(0, 1))
        stages.add_column(width=2, justify="right")
        stages.add_column(width=11)
        stages.add_column()
        for stage in _SHOWN:
            stages.add_row(self._mark(stage, state), _name(stage, state), self._detail(stage, state))
        foot = Padding(
            Text(foot_line(state), style="quiet", no_wrap=True, overflow="ellipsis"), (1, 0, 0, 3)
        )
        return Padding(Group(stages, foot), (1, 0, 0, 0))

    def _mark(self, stage: Stage, state: ReportState) -> RenderableType:
        if stage < state.stage:
            return Text("✓", style="good")
        if stage > state.stage:
            return Text("·", style="quiet")
        return self._spinner if state.running else Text("○", style="waiting")

    def _detail(self, stage: Stage, state: ReportState) -> RenderableType:
        if stage is Stage.WRITING and state.stage >= Stage.WRITING:
            return self._bar(state) if state.stage is stage else Text(_calls(state), style="quiet")
        return Text()

    def _bar(self, state: ReportState) -> RenderableType:
        row = Table.grid(padding=(0, 2))
        width = max(10, min(_BAR_WIDTH_MAX, self._console.width - 48))
        bar = ProgressBar(
            total=1.0,
            completed=state.fraction,
            width=width,
            complete_style="busy",
            finished_style="good",
        )
        row.add_row(bar, _percent(state), Text(_calls(state), style="quiet"))
        return row


def _name(stage: Stage, state: ReportState) -> Text:
    style = "strong" if stage is state.stage else "quiet" if stage > state.stage else ""
    return Text(stage.label, style=style)


def _percent(state: ReportState) -> str:
    # 100 % is said only when it is true.
    share = state.fraction if state.fraction >= 1 else min(state.fraction, 0.99)
    return f"{share * 100:3.0f} %"


def _calls(state: ReportState) -> str:
    return f"{len(state.written):,} of {counted(state.calls_total, 'call')}"


def foot_line(state: ReportState) -> str:
    """Return the line below the stages: what, how long, how much."""
    return " · ".join(_parts(state))


def _parts(state: ReportState) -> list[str]:
    if state.suspended is not None:
        first = _WAITS.get(state.suspended, f"waiting for {state.suspended}")
    elif state.stopping:
        writing = state.stage is Stage.WRITING
        first = "finishing the calls in flight" if writing else "finishing what is under way"
    elif not state.running and state.stage is not Stage.DONE:
        first = "waiting to begin"
    elif state.stage is Stage.WRITING:
        first = state.label or "the first calls are on their way"
    else:
        first = ("computing the sky", "", "typesetting the pages", "done")[state.stage]
    parts = [printable(first)]
    if state.trouble:
        parts.append(state.trouble)
    remaining = state.remaining
    if remaining is not None and state.stage is Stage.WRITING and not state.stopping:
        parts.append(f"about {rough_duration(remaining)} left")
    parts.append(f"{clock_time(state.elapsed)} elapsed")
    if state.usd or not state.unpriced:
        parts.append(f"{money(state.usd)} spent")
    if state.unpriced:
        parts.append(f"{counted(state.unpriced, 'call')} of unknown price")
    return parts


class PlainView:
    """Writes a line now and then: for logs, pipes and continuous integration."""

    def __init__(self) -> None:
        self._state: ReportState | None = None
        self._told: Stage | None = None
        self._told_at = 0.0

    def open(self, state: ReportState) -> None:
        self._state = state
        self.update()

    def update(self) -> None:
        state = self._state
        if state is None or not (state.running or state.suspended):
            return
        now = state.clock.monotonic()
        if state.stage is self._told and now - self._told_at < _LINE_SECONDS:
            return
        self._told, self._told_at = state.stage, now
        if state.stage is Stage.DONE:
            return
        share = f"{_percent(state).strip()} · {_calls(state)} · " if state.stage is Stage.WRITING else ""
        self.say(f"{state.stage.label}: {share}{foot_line(state)}")

    def say(self, words: str, style: str = "") -> None:
        sys.stderr.write(printable(words) + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        self._state = None
