"""What an experiment measures of texts."""

from datetime import date

from holdfast.apps.reports.experiment import measure
from holdfast.apps.reports.manifest import Batch, Period
from holdfast.apps.reports.models import PeriodAnswers, WrittenAnswer, WrittenBatch
from holdfast.apps.reports.questions import Question
from holdfast.apps.reports.writing import Written

DAY = date(2026, 5, 20)


def figures_of(*texts: str, words: tuple[int, int] = (1, 100)):
    questions = tuple(
        Question(number=number, topic="love", group="-", text="?") for number in range(1, len(texts) + 1)
    )
    period = Period(
        id="p", kind="section", first_day=DAY, last_day=DAY, words=words, questions=questions
    )
    answers = tuple(WrittenAnswer(question=n, answer=text) for n, text in enumerate(texts, 1))
    written = Written()
    written.add(WrittenBatch(periods=(PeriodAnswers(period="p", answers=answers),)))
    return measure([Batch(id="b", label="-", periods=(period,))], written)


def test_length_is_counted_in_words():
    found = figures_of("one two three", "one two three four five", words=(4, 9))

    assert (found.answers, found.words, found.words_mean) == (2, 8, 4.0)
    assert (found.words_min, found.words_max, found.in_range_share) == (3, 5, 0.5)


def test_run_of_words_that_comes_again_is_a_repetition_whatever_its_case_and_stops():
    found = figures_of("the moon asks you to rest", "Today: The Moon asks you – to act")

    # Runs of five: two of the first, three of the second; one of these stood in the first.
    assert found.repeated_ngrams_share == 0.2


def test_same_opening_is_counted():
    found = figures_of("The moon asks much", "the Moon asks little", "Mars does not")

    assert found.repeated_openings_share == round(1 / 3, 4)


def test_texts_of_their_own_repeat_nothing():
    found = figures_of("one two three four five six", "seven eight nine ten eleven twelve")

    assert (found.repeated_ngrams_share, found.repeated_openings_share) == (0, 0)
