"""A file of 300 MB goes up and comes down in a process that hardly grows, and exits cleanly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_BYTES = 300 * 1024**2
GROWTH_BYTES_MAX = 120 * 1024**2


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak from /proc")
def test_large_file_is_moved_in_bounded_memory(any_lab, s3_server, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(FILE_BYTES // 2**20):
            file.write(number.to_bytes(4) * 2**18)

    ended = subprocess.run(
        [sys.executable, "-m", "tests.artifacts.moving", any_lab.url, s3_server.url, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert told["size"] == told["received"] == FILE_BYTES
    assert told["both"] < GROWTH_BYTES_MAX, told
