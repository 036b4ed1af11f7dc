"""Every relative link of the pages leads somewhere."""

import pytest

from tests.docs.pages import ROOT, broken_links, pages


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page):
    assert broken_links(page) == []


# the check itself


def test_link_to_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](missing.md) [b](page.md) [c](https://example.com/x)")

    assert broken_links(page) == ["missing.md"]


def test_anchor_that_is_not_there_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('# The tide\n<a id="ebb"></a> [a](#the-tide) [b](page.md#ebb) [c](#flood)')

    assert broken_links(page) == ["#flood"]


def test_link_in_a_code_block_is_none(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = [b](missing)\n```\n")

    assert broken_links(page) == []
