"""The offline writer: answers a report's prompt without a model, always in the same words.

It reads what a model would read, the chart and the sky in the prompt, and puts sentences together
from them, so that a report can be made, looked at and tested with no key and no network. Its
answers fit the schema and the word ranges; they mark themselves as sample text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

from holdfast.apps.reports.phrases import Pen, phrases
from holdfast.apps.reports.sentences import Chart, Sky
from holdfast.apps.reports.wording import capital
from holdfast.llm.providers.base import ProviderRequest
from holdfast.llm.providers.scripted import write_sample

_JSON_BLOCK = re.compile(r"```json\n(.*?)\n```", re.DOTALL)
_SPANS = {"daily": "today", "weekly": "this week", "monthly": "this month", "yearly": "this year"}
_REMINDERS = ("", "", "", "remember that ", "bear in mind that ", "you may find that ", "after all, ")


def write_report_sample(request: ProviderRequest) -> str:
    """Answer a batch of a report as JSON text; any other request as `scripted.write_sample` does."""
    system = "\n".join(each["content"] for each in request.messages if each["role"] == "system")
    asked = "\n".join(each["content"] for each in request.messages if each["role"] == "user")
    person, batch = _JSON_BLOCK.search(system), _JSON_BLOCK.search(asked)
    if person is None or batch is None:
        return write_sample(request)
    chart = Chart(json.loads(person[1]))
    wanted = json.loads(batch[1])
    periods = [
        {
            "period": period["period"],
            "answers": [
                {
                    "question": question["number"],
                    "answer": _Answer(chart, wanted, period, question).text(),
                }
                for question in period["questions"]
            ],
        }
        for period in wanted["periods"]
    ]
    return json.dumps({"periods": periods, "sample": True}, ensure_ascii=False)


class _Answer:
    """One answer on its way from facts to text."""

    def __init__(
        self, chart: Chart, batch: dict[str, Any], period: dict[str, Any], question: dict[str, Any]
    ) -> None:
        self._pen = Pen(f"{period['period']}/{question['number']}")
        self._low, self._high = batch["words"]
        self._span = _SPANS.get(batch["kind"], "now and in general")
        self._topic = phrases()["topics"][question["topic"]]
        self._chart = chart
        self._sky = Sky(period["sky"], batch["kind"], turn=question["number"])
        self._turn = question["number"]
        self._focus: list[str] = period["sky"].get("look_first_at", [])

    def text(self) -> str:
        """Return the answer, within its word range."""
        ending = [self._action(), self._pen.pick(phrases()["closers"])]
        target = self._low + self._pen.below(self._high - self._low)
        body: list[str] = []
        words = sum(len(sentence.split()) for sentence in ending)
        for sentence in self._sentences():
            length = len(sentence.split())
            if words >= self._low and words + length / 2 > target:
                break
            if words + length <= self._high and sentence not in body:
                body.append(sentence)
                words += length
        return _in_paragraphs(body + ending)

    def _sentences(self) -> Iterator[str]:
        """Yield what could be said, the most telling first: sky, advice, chart in turn."""
        sky = self._sky.sentences(self._pen)
        advice = self._advice()
        chart = self._chart.sentences(self._pen, self._turn, self._focus)
        first, second = (advice, sky) if self._pen.below(3) == 0 else (sky, advice)
        rounds = zip_longest(first, second, sky, chart, advice)
        return (sentence for sentence in chain.from_iterable(rounds) if sentence is not None)

    def _action(self) -> str:
        actions: list[str] = self._topic["action"]
        return actions[self._turn % len(actions)] if self._focus else self._pen.pick(actions)

    def _advice(self) -> Iterator[str]:
        counsel = self._topic["counsel"]
        if self._focus:
            # All sections of a view share one topic: each takes its share of the advice.
            counsel = counsel[self._turn % 4 :: 4]
        for sentence in self._pen.shuffled(counsel):
            if "{span}" in sentence:
                yield sentence.format(span=self._span) + "."
            elif sentence[0].isupper():
                yield sentence + "."
            else:
                yield capital(self._pen.pick(_REMINDERS) + sentence) + "."


def _in_paragraphs(sentences: list[str]) -> str:
    """Join sentences; a long text gets a second paragraph."""
    if sum(len(sentence.split()) for sentence in sentences) < 170:
        return " ".join(sentences)
    middle = (len(sentences) + 1) // 2
    return " ".join(sentences[:middle]) + "\n" + " ".join(sentences[middle:])
