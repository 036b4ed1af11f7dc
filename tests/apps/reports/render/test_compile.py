"""The typesetter as a process of its own."""

import json
import subprocess
import sys

import pytest

from holdfast.apps.reports.render.compile import compile_pdf
from holdfast.apps.reports.render.errors import EXIT_RENDER_ERROR, CompileError
from holdfast.apps.reports.render.jobs import CompileJob

COMMAND = [sys.executable, "-W", "error", "-m", "holdfast.apps.reports.render.compile"]


def probe(tmp_path, text: str) -> CompileJob:
    path = tmp_path / "input.json"
    path.write_text(json.dumps(list(text)), encoding="utf-8")
    return CompileJob(template="probe", document_path=str(path), out_path=str(tmp_path / "out.pdf"))


def test_child_process_writes_the_file_and_tells_its_pages(tmp_path):
    job = probe(tmp_path, "abc")

    done = subprocess.run(
        COMMAND, input=job.model_dump_json(), capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == {"path": job.out_path, "pages": 1, "anchors": {}}
    assert (tmp_path / "out.pdf").read_bytes().startswith(b"%PDF-")


def test_child_process_ends_with_its_own_status_when_the_typesetter_refuses(tmp_path):
    job = probe(tmp_path, "漢")

    done = subprocess.run(
        COMMAND, input=job.model_dump_json(), capture_output=True, text=True, check=False
    )

    assert done.returncode == EXIT_RENDER_ERROR
    assert done.stderr.startswith("render_compile_failed: template 'probe' could not be typeset")
    assert not (tmp_path / "out.pdf").exists()


def test_missing_glyph_is_an_error_and_never_an_empty_box(tmp_path):
    with pytest.raises(CompileError, match="could not be displayed"):
        compile_pdf(probe(tmp_path, "🦄"))


def test_two_runs_give_equal_bytes(tmp_path):
    job = probe(tmp_path, "abc")
    compile_pdf(job)
    first = (tmp_path / "out.pdf").read_bytes()

    compile_pdf(job)

    assert (tmp_path / "out.pdf").read_bytes() == first
