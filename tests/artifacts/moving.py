"""Moves a file up to artifact storage and down again, and tells by how much the memory's peak grew.

A program of its own, so that nothing else is measured:
`python -m tests.artifacts.moving URL ENDPOINT FILE`.
"""

import asyncio
import json
import re
import sys
from pathlib import Path

from holdfast.artifacts import open_artifacts
from holdfast.artifacts.s3 import S3Access
from holdfast.clock import SystemClock


def peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def main(url: str, endpoint: str, path: Path) -> None:
    access = S3Access(endpoint=endpoint, access_key_id="test", secret_access_key="test")
    artifacts = open_artifacts(url, SystemClock(), access=access)
    await artifacts.get_bytes(await artifacts.put_bytes(b"everything is loaded now"))
    before = peak_bytes()
    sha256, size = await artifacts.put_file(path)
    up = peak_bytes() - before
    received = 0
    async for chunk in artifacts.stream(sha256):
        received += len(chunk)
    told = {"size": size, "received": received, "up": up, "both": peak_bytes() - before}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
