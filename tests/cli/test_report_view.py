"""What the progress of a report looks like, frame by frame."""

from decimal import Decimal

import pytest
from rich.console import ConsoleDimensions

from holdfast.cli import report_view
from holdfast.cli.report_state import ReportState, Stage
from holdfast.codec import to_json
from holdfast.model import Event
from holdfast.testing.clock import START, ManualClock


def state_at(*events: tuple[str, dict[str, object]], clock: ManualClock | None = None) -> ReportState:
    state = ReportState(clock=clock or ManualClock(), calls_total=4)
    for seq, (event_type, fields) in enumerate(events, 1):
        state.apply(Event(job_id="job_1", seq=seq, type=event_type, data=to_json(fields), at=START))
    return state


STARTED = ("attempt.started", {"attempt": 1, "epoch": 1, "worker_id": "w"})
SKY = ("step.completed", {"key": "precompute", "seconds": 1.0, "attempts": 1})
HALF = (
    "progress",
    {"done": 50, "total": 100, "fraction": 0.5, "label": "Writing May 2026", "eta_seconds": 200.0},
)


def written(key: str) -> tuple[str, dict[str, object]]:
    return ("step.completed", {"key": f"write/{key}", "seconds": 2.0, "attempts": 1})


def paid(usd: str | None) -> tuple[str, dict[str, object]]:
    return ("usage", {"input_tokens": 10, "output_tokens": 5, "usd": usd})


def test_stages_follow_the_steps():
    all_written = [written(str(number)) for number in range(4)]

    assert state_at(STARTED).stage is Stage.PRECOMPUTE
    assert state_at(STARTED, SKY, HALF).stage is Stage.WRITING
    assert state_at(STARTED, SKY, HALF, *all_written).stage is Stage.RENDERING
    assert state_at(STARTED, *all_written, ("job.completed", {})).stage is Stage.DONE


def test_money_and_tokens_add_up_and_unknown_prices_are_counted():
    state = state_at(STARTED, paid("0.0012"), paid("0.0003"), paid(None))

    assert (state.usd, state.tokens, state.unpriced) == (Decimal("0.0015"), 45, 1)


def test_estimate_counts_down_between_events():
    clock = ManualClock()
    state = state_at(STARTED, HALF, clock=clock)

    clock.advance(50)

    assert state.remaining == 150
    assert "about 2 min left" in report_view.foot_line(state)


def test_wait_for_budget_is_told():
    state = state_at(STARTED, ("job.suspended", {"reason": "budget", "until": None}))

    assert report_view.foot_line(state).startswith("waiting for a higher budget")


def test_trouble_is_told_until_something_succeeds():
    retrying = (
        "step.retrying",
        {
            "key": "write/1",
            "step_attempt": 1,
            "wait_seconds": 1.0,
            "error": {"type": "X", "code": "rate_limited"},
        },
    )

    troubled, mended = state_at(STARTED, HALF, retrying), state_at(STARTED, HALF, retrying, written("1"))

    assert "rate limited, trying again" in report_view.foot_line(troubled)
    assert "trying again" not in report_view.foot_line(mended)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_frame_fits_the_terminal_and_never_rounds_up_to_done(columns: int):
    nearly = ("progress", {**HALF[1], "fraction": 0.9999})
    view = report_view.LiveView()
    view._console.size = ConsoleDimensions(columns, 24)
    view._state = state_at(STARTED, SKY, nearly, written("1"), paid(None))

    with view._console.capture() as capture:
        view._console.print(view._draw())
    lines = capture.get().splitlines()

    assert max(len(line) for line in lines) <= columns
    assert " 99 %" in capture.get()
    assert "1 of 4 calls" in capture.get()


def test_plain_lines_come_at_a_bounded_rate(capsys: pytest.CaptureFixture[str]):
    clock = ManualClock()
    state = state_at(STARTED, SKY, HALF, clock=clock)
    view = report_view.PlainView()
    view.open(state)
    for _ in range(60):
        clock.advance(0.1)
        view.update()

    lines = capsys.readouterr().err.splitlines()

    assert len(lines) == 2
    assert lines[0].startswith("writing: 50 % · 0 of 4 calls · Writing May 2026 · about 3 min left")
