"""Every error has a code that stays, a place in the drawn tree and a row in the docs."""

from pathlib import Path
from typing import ClassVar

from holdfast import errors
from holdfast.errors import HoldfastError
from tests.tidy.errors_doc import code_findings, error_classes, page_findings, tree_findings

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
ROW = '| <a id="tide"></a>`tide` | `TideError` | The tide is out. | Wait. |\n'


class TideError(HoldfastError):
    code: ClassVar[str] = "tide"


class EbbError(HoldfastError):
    code: ClassVar[str] = "tide"


class FloodError(HoldfastError):
    pass


def test_every_error_has_a_code_of_its_own():
    assert code_findings(error_classes(errors)) == []


def test_every_error_has_a_row_in_the_docs_and_no_row_is_left_over():
    assert page_findings(error_classes(errors), PAGE.read_text()) == []


def test_every_error_is_drawn_in_the_tree():
    assert tree_findings(error_classes(errors), errors.__doc__ or "") == []


def test_shared_code_is_found():
    assert code_findings([TideError, EbbError]) == ["code 'tide' is used 2 times"]


def test_inherited_code_is_found():
    assert code_findings([FloodError]) == ["FloodError has no code of its own"]


def test_complete_row_passes():
    assert page_findings([TideError], ROW) == []


def test_missing_row_is_found():
    assert page_findings([TideError], "") == ["TideError (tide) has no row"]


def test_stale_row_is_found():
    assert page_findings([], ROW) == ["row 'tide' belongs to no error"]


def test_row_of_another_class_is_found():
    assert page_findings([EbbError], ROW) == ["row 'tide' names TideError under anchor 'tide'"]


def test_empty_column_is_found():
    assert page_findings([TideError], ROW.replace("Wait.", "")) == ["row 'tide' leaves a column empty"]


def test_undrawn_error_is_found():
    assert tree_findings([TideError], "HoldfastError\n└── EbbError") == ["TideError is not drawn"]
