"""Marks: what only this service can say of a text."""

from holdfast.server.tokens import Tokens
from holdfast.testing.clock import ManualClock

OLD, NEW = "an old secret that is long enough", "a new secret that is long enough, too"


def test_mark_is_always_the_same_and_only_good_for_its_text_and_purpose():
    tokens = Tokens([NEW], ManualClock())

    mark = tokens.mark("form", "session")

    assert mark == Tokens([NEW], ManualClock()).mark("form", "session")
    assert tokens.is_mark("form", "session", mark)
    assert not tokens.is_mark("form", "other", mark)
    assert not tokens.is_mark("other", "session", mark)
    assert not tokens.is_mark("form", "session", "")
    assert not tokens.is_mark("form", "session", "ä")


def test_mark_of_a_secret_that_was_replaced_is_good_while_it_is_accepted():
    mark = Tokens([OLD], ManualClock()).mark("form", "session")

    assert Tokens([NEW, OLD], ManualClock()).is_mark("form", "session", mark)
    assert not Tokens([NEW], ManualClock()).is_mark("form", "session", mark)
