"""Workers in processes of their own on one file."""

import asyncio
import sys
import textwrap

import pytest

from holdfast.testing.harness import Harness

pytestmark = [pytest.mark.process, pytest.mark.timeout(40)]

WORKER = """
    import asyncio, os, sys
    from pathlib import Path
    from holdfast.testing.harness import Harness

    async def work(job, number: int) -> int:
        await job.step("note", note, number)
        return os.getpid()

    async def note(number: int) -> None:
        with open(sys.argv[2], "a") as file:
            file.write(f"{number}\\n")

    async def main():
        async with Harness(Path(sys.argv[1])) as harness:
            harness.job("work", work)
            await harness.start_worker(slots=3)
            print("ready", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    asyncio.run(main())
"""


async def start(folder, notes):
    script = folder / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        script,
        folder,
        notes,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def work(job, number: int) -> int:
    raise NotImplementedError


async def test_two_processes_share_the_jobs_and_run_each_once(folder):
    notes = folder / "notes.txt"
    processes = [await start(folder, notes) for _ in range(2)]
    async with Harness(folder) as harness:
        harness.job("work", work)
        job_ids = [await harness.submit("work", number) for number in range(30)]
        pids = {(await harness.client.result(job_id)) for job_id in job_ids}
        for process in processes:
            process.stdin.close()
            assert await process.wait() == 0

    assert pids <= {process.pid for process in processes}
    assert sorted(map(int, notes.read_text().split())) == list(range(30))
