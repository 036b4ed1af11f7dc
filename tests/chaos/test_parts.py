"""Small parts of a chaos run."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.clock import SystemClock
from holdfast.testing.chaos import jobs
from holdfast.testing.chaos.fleet import Life, Post
from holdfast.testing.chaos.reading import WAKING_SECONDS, blows_of


class HurriedClock(jobs.SteppedClock):
    """A second passes with every look at it."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


def test_stepped_clock_is_wrong_by_what_its_file_says(tmp_path):
    file = tmp_path / "clock"
    clock = HurriedClock(file)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)

    file.write_text("-60.0")

    assert timedelta(seconds=55) < datetime.now(UTC) - clock.now() < timedelta(seconds=65)
    assert isinstance(clock, SystemClock), "a store with a clock of its own must not be misled"


def test_same_question_has_the_same_answer_and_each_job_another_output():
    works = [jobs.Work(name=f"job {number}", steps=3) for number in range(50)]

    assert jobs.answer("why") == jobs.answer("why") != jobs.answer("how")
    assert len({jobs.output(work) for work in works}) == 50


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([("SIGTERM", 1.0)], []),
        ([("SIGKILL", 2.0)], [(2.0, 2.0)]),
        ([("SIGSTOP", 1.0), ("SIGCONT", 4.0)], [(1.0, 4.0 + WAKING_SECONDS)]),
        (
            [("SIGSTOP", 1.0), ("SIGSTOP", 2.0), ("SIGCONT", 4.0), ("SIGCONT", 5.0)],
            [(1.0, 4.0 + WAKING_SECONDS)],
        ),
        ([("SIGSTOP", 1.0), ("SIGKILL", 3.0)], [(3.0, 3.0), (1.0, 9.0)]),
    ],
)
def test_blows_are_when_a_process_could_not_go_on(told, expected):
    assert blows_of(told, 9.0) == expected


def test_life_tells_from_its_log_which_workers_it_was(tmp_path):
    log = tmp_path / "worker.log"
    log.write_text(
        '{"event": "worker started", "worker_id": "worker_a"}\n'
        "Traceback (most recent call last):\n"
        '{"event": "worker started", "worker_id": "worker_b"}\n'
        '"a line"\n'
    )
    life = Life(post=Post(name="worker 0", command=("worker",)), number=1, log=log, began=0.0)

    assert life.name == "worker 0.1"
    assert life.worker_ids() == ["worker_a", "worker_b"]
    assert [line["event"] for line in life.lines()][1] == "Traceback (most recent call last):"
