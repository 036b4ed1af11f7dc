from collections import Counter
from itertools import pairwise

import pytest

from holdfast.apps.reports.questions import choose_questions, topics

KINDS = ("daily", "weekly", "monthly", "yearly")


def test_twenty_topics_stand_in_five_groups_of_four():
    groups = Counter(topic.group for topic in topics())

    assert set(groups.values()) == {4}
    assert len(topics()) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_no_question_is_asked_twice_in_the_banks_of_a_kind(kind):
    asked = [text for topic in topics() for text in getattr(topic, kind)]

    assert len(asked) == len(set(asked))
    assert all(text.endswith("?") for text in asked)


@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly"])
def test_neighbouring_periods_ask_other_questions(kind):
    texts = [[question.text for question in choose_questions(kind, turn, 20)] for turn in range(40)]

    same = [sum(a == b for a, b in zip(*pair, strict=True)) for pair in pairwise(texts)]
    assert max(same) <= 12
    assert sum(same) / len(same) < 5


def test_fewer_questions_are_spread_over_the_groups():
    assert len({question.group for question in choose_questions("daily", 1, 5)}) == 5
