"""Every Python block of the pages and every example runs, offline, from a folder of its own."""

from pathlib import Path

import pytest

from tests.docs.pages import EXAMPLES, ROOT, copy_home, pages, programs, run, run_programs

TUTORIAL = "docs/tutorial/first-job.md"
RUN_ELSEWHERE = {TUTORIAL: {"first.py"}}  # killed and run again in test_tutorial.py

PROGRAMS = {
    name: found
    for path in pages()
    if (name := path.relative_to(ROOT).as_posix())
    and (
        found := {
            file: text
            for file, text in programs(path.read_text()).items()
            if file not in RUN_ELSEWHERE.get(name, ())
        }
    )
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("page", PROGRAMS)
def test_python_blocks_of_page_run(page, tmp_path, prepared_home):
    copy_home(prepared_home, tmp_path)

    assert run_programs(PROGRAMS[page], tmp_path) == []


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example_runs(example, tmp_path, prepared_home):
    copy_home(prepared_home, tmp_path)

    ended = run([str(example)], tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    assert ended.stdout == EXPECTED.get(example.stem, ended.stdout)


EXPECTED = {"isolation": "1229 primes; IsolationError\n"}


def test_readme_has_an_example_that_is_run():
    assert "app.run(" in PROGRAMS["README.md"]["page.py"]


def test_examples_are_found():
    assert {path.stem for path in EXAMPLES.glob("*.py")} >= {"approval", "essay", "isolation"}


# the checks themselves


def test_program_that_fails_is_found(tmp_path):
    assert run_programs({"page.py": "raise SystemExit('no tide')"}, tmp_path) == ["page.py: no tide\n"]


def test_test_that_fails_is_found(tmp_path):
    found = run_programs({"test_tide.py": "def test_tide():\n    assert 'low' == 'high'\n"}, tmp_path)

    assert "1 failed" in found[0]


def test_blocks_without_a_file_name_are_one_program():
    page = "```python\na = 1\n```\ntext\n```python\nassert a\n```\n```console\n$ ls\n```\n"

    assert programs(page) == {"page.py": "a = 1\n\n\nassert a\n"}


def test_block_that_names_its_file_is_that_file():
    assert programs("```python\n# tide.py\na = 1\n```\n") == {"tide.py": "# tide.py\na = 1\n"}


def test_settings_of_this_machine_do_not_reach_a_program(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_HOME", "/elsewhere")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")

    ended = run(
        ["-c", "import os; print({'HOLDFAST_HOME', 'OPENAI_API_KEY'} & {*os.environ})"], tmp_path
    )

    assert ended.stdout == "set()\n"
