"""The tutorial's promise, from nothing: kill -9 in the middle, and finished steps are not repeated."""

import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, environment, programs, run

PAGE = (ROOT / "docs/tutorial/first-job.md").read_text()


@pytest.mark.process
@pytest.mark.timeout(60)
def test_tutorial_goes_on_after_kill_as_its_transcript_says(tmp_path):
    (tmp_path / "first.py").write_text(programs(PAGE)["first.py"])
    first = "".join(_lines_until_killed(tmp_path, "working on three\n"))

    second = run(["first.py"], tmp_path)
    third = run(["first.py"], tmp_path)

    assert f"$ python first.py &\n{first}$ kill -9 %1\n" in PAGE
    assert f"$ python first.py\n{second.stderr}{second.stdout}```" in PAGE
    assert f"$ python first.py\n{third.stderr}{third.stdout}```" in PAGE
    assert second.stdout == "working on three\nworking on four\nONE TWO THREE FOUR\n"


def _lines_until_killed(folder, last):
    """Run the script until it says `last`, kill it, and return what it had said."""
    with subprocess.Popen(
        [sys.executable, "first.py"], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    ) as script:
        assert script.stdout is not None
        lines = []
        for line in script.stdout:
            lines.append(line)
            if line == last:
                script.kill()
        return lines
