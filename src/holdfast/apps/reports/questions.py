"""The question banks: what is asked of each kind of period, chosen by the calendar alone."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from holdfast.apps.reports.models import QUESTIONS_PER_PERIOD

PROMPTS = Path(__file__).parent / "prompts"

PeriodKind = Literal["daily", "weekly", "monthly", "yearly", "section"]


class Topic(BaseModel):
    """One of the twenty topics with its questions for each kind of period."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    group: str
    """Section of the report that the topic is printed in."""
    daily: tuple[str, ...]
    weekly: tuple[str, ...]
    monthly: tuple[str, ...]
    yearly: tuple[str, ...]


class Question(BaseModel):
    """One question of a period."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    """From 1 within its period; stays the same when a batch is split."""
    topic: str
    group: str
    text: str


@cache
def topics() -> tuple[Topic, ...]:
    """Return the twenty topics in the order in which they are printed."""
    found = tomllib.loads((PROMPTS / "questions.toml").read_text(encoding="utf-8"))
    return tuple(Topic.model_validate(entry) for entry in found["topic"])


def choose_questions(kind: PeriodKind, turn: int, count: int) -> tuple[Question, ...]:
    """Return the questions of one period.

    Args:
        kind: Daily to yearly.
        turn: Position of the period in the calendar; neighbours get other questions.
        count: How many; fewer than all are spread over the groups.
    """
    chosen = [topics()[index * QUESTIONS_PER_PERIOD // count] for index in range(count)]
    return tuple(
        Question(number=number, topic=topic.name, group=topic.group, text=_pick(topic, kind, turn))
        for number, topic in enumerate(chosen, 1)
    )


def _pick(topic: Topic, kind: PeriodKind, turn: int) -> str:
    bank: tuple[str, ...] = getattr(topic, kind)
    # Each topic starts elsewhere, so that a day is never a repetition of another day's whole list.
    offset = sum(topic.name.encode())
    return bank[(turn + offset + turn // len(bank) * (offset % 2)) % len(bank)]
