import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from asyncio.subprocess import Process
from datetime import timedelta
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from holdfast.engine import child, isolation
from holdfast.errors import FatalError, IsolationError, JobFailedError, StepTimeoutError, StepUsageError
from holdfast.model import Isolation, JobStatus
from holdfast.testing.signals import eventually
from tests.engine import isolated
from tests.engine.moving import ONCE

pytestmark = pytest.mark.timeout(30)

NO_LIMITS = Isolation(memory_bytes=None)


def alive(pid):
    """Whether a process exists and is not a zombie that only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def run(function, arguments=b"[[],{}]", limits=NO_LIMITS):
    return await isolation.run_isolated(function, arguments, limits=limits, step_key="cpu")


async def pids(marker):
    await eventually(marker.exists)
    return [int(pid) for pid in marker.read_text().split()]


async def test_isolated_step_runs_in_a_child_with_typed_arguments_and_result(lab, job):
    @job
    async def work(job):
        sheet = await job.step(
            "enlarge", isolated.enlarge, isolated.Sheet(title="t", pages=1), by=2, isolate=True
        )
        assert sheet == isolated.Sheet(title="t", pages=3)
        return await job.step("pid", isolated.own_pid, isolate=NO_LIMITS)

    assert await lab.run("work") not in {None, os.getpid()}


async def test_what_the_function_prints_does_not_disturb_its_result():
    assert await run(isolated.prints_a_lot) == b'"quiet"'


async def test_memory_limit_ends_the_function_not_the_worker():
    with pytest.raises(IsolationError, match=r"MemoryError.*512 MiB, raise Isolation"):
        await run(isolated.hoards, limits=Isolation(memory_bytes=512 * 1024**2))


async def test_time_limit_kills_the_child_and_what_it_started(tmp_path):
    marker = tmp_path / "pid"
    running = asyncio.ensure_future(
        run(isolated.hangs, f'[["{marker}"],{{}}]'.encode(), Isolation(timeout=timedelta(seconds=1.5)))
    )

    found = await pids(marker)
    with pytest.raises(StepTimeoutError, match=r"'cpu' was still running after its limit of 1.5 s"):
        await running

    await eventually(lambda: not any(map(alive, found)))


async def test_cancel_of_the_job_kills_the_child_and_what_it_started(lab, job, tmp_path):
    marker = tmp_path / "pid"

    @job
    async def work(job):
        await job.step("cpu", isolated.hangs, str(marker), isolate=True)

    job_id = await lab.submit("work")
    found = await pids(marker)
    await lab.client.cancel(job_id)

    assert (await lab.end_of(job_id)).status is JobStatus.CANCELLED
    await eventually(lambda: not any(map(alive, found)))


async def test_timeout_of_the_step_kills_the_child(lab, job, tmp_path):
    marker = tmp_path / "pid"

    @job
    async def work(job):
        await job.step(
            "cpu", isolated.hangs, str(marker), isolate=True, timeout=timedelta(seconds=1.5), retry=ONCE
        )

    job_id = await lab.submit("work")
    found = await pids(marker)

    assert "still running after its limit of 1.5 s" in (await lab.end_of(job_id)).error.message
    await eventually(lambda: not any(map(alive, found)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (isolated.raises_fatal, "FatalError in the child process of step 'cpu': cannot be helped"),
        (isolated.raises_value_error, "ValueError in the child process of step 'cpu': bad page"),
        (isolated.not_json, "holds a builtins.object, which JSON does not have"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_permanent_error_tells_its_class_and_traceback(function, message):
    with pytest.raises(FatalError, match=message) as caught:
        await run(function)

    assert "Traceback" in caught.value.__notes__[0]


async def test_transient_error_is_tried_again_with_the_policys_own_wait():
    """A lost connection asks for no particular wait, so it must not be taken as 'at once'."""
    with pytest.raises(isolation.ChildTroubleError, match="ConnectionResetError") as caught:
        await run(isolated.raises_transient)

    assert (caught.value.transient, caught.value.retry_after) == (True, None)


async def test_wait_that_the_function_asked_for_is_kept():
    with pytest.raises(isolation.ChildTroubleError) as caught:
        await run(isolated.raises_later)

    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (isolated.exits, "exited with status 3 without a result: last words"),
        (isolated.dies, "killed by signal SIGKILL without a result; if it ran out of its 2048 MiB"),
        (isolated.vanishes, "exited with status 0 without a result"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_child_that_ends_without_a_result_is_told_by_how_it_ended(function, message):
    with pytest.raises(IsolationError, match=message):
        await run(function, limits=Isolation())


async def test_child_without_a_memory_limit_blames_the_machine():
    with pytest.raises(IsolationError, match="the machine may have run out of memory"):
        await run(isolated.dies)


async def test_result_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(isolation, "RESULT_BYTES_MAX", 1000)

    with pytest.raises(IsolationError, match="sent more than 1000 bytes"):
        await run(isolated.huge)


@pytest.mark.parametrize("function", [isolated.coroutine, lambda: 1], ids=["coroutine", "lambda"])
async def test_what_a_child_cannot_run_is_refused(lab, job, function):
    @job
    async def work(job):
        await job.step("cpu", function, isolate=True)

    with pytest.raises(JobFailedError, match="StepUsageError"):
        await lab.run("work")


async def test_arguments_that_do_not_fit_are_refused_before_a_child_is_started(lab, job):
    @job
    async def work(job):
        await job.step("cpu", isolated.add, 1, 2, 3, isolate=True)

    with pytest.raises(JobFailedError, match="called with arguments that do not fit"):
        await lab.run("work")


async def test_child_that_is_gone_before_it_was_asked_is_told_by_how_it_ended(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(IsolationError, match="exited with status 1"):
        await run(isolated.add, b"[[" + b"1," * 500_000 + b"1],{}]")


async def test_child_without_pipes_is_a_defect_of_the_platform():
    class Child:
        stdin = stdout = None

    with pytest.raises(IsolationError, match="came without pipes"):
        await isolation._converse(cast("Process", Child()), b"", b"")


async def test_kill_of_a_child_without_pipes_waits_for_its_end():
    class Child:
        stdin = returncode = None
        pid = 2**22 + 1  # more than the kernel gives

        async def wait(self):
            self.returncode = -9

    child = Child()
    await isolation._kill(cast("Process", child))

    assert child.returncode == -9


@pytest.mark.parametrize(
    ("module", "path", "spec", "expected"),
    [
        ("__main__", "/srv/jobs.py", None, ["jobs", "/srv/jobs.py"]),
        ("shop", "/srv/jobs.py", None, None),  # importable by its name
        ("__main__", "/srv/shop/__main__.py", ModuleSpec("shop.__main__", None), None),  # and so is this
        ("__main__", None, None, None),  # an interactive session
    ],
)
def test_child_is_told_of_the_script_only_if_its_function_is_in_one(
    monkeypatch, module, path, spec, expected
):
    def function():
        raise NotImplementedError

    function.__module__ = module
    main = ModuleType("__main__")
    main.__spec__ = spec
    if path:
        main.__file__ = path
    monkeypatch.setitem(sys.modules, "__main__", main)

    assert isolation._script_of(function) == expected


def test_refusal_of_a_lambda_names_the_way_out():
    with pytest.raises(StepUsageError, match="top level of a module"):
        isolation.check_isolated(lambda: 1)


SCRIPT = """
    import asyncio, sys, dataclasses, os, time
    from pathlib import Path
    import pydantic
    from holdfast.engine.isolation import run_isolated
    from holdfast.engine.functions import encode_arguments
    from holdfast.model import Isolation

    @dataclasses.dataclass(frozen=True)
    class Setting:
        name: str = "x"

    class Config(pydantic.BaseModel):
        model_config = {"frozen": True}
        pages: int = 3

    SETTING, CONFIG = Setting(), Config()

    def count(config: Config) -> Config:
        return Config(pages=config.pages + 1)

    def hangs(marker: str) -> None:
        part = Path(marker + ".part")
        part.write_text(str(os.getpid()))
        part.rename(marker)
        time.sleep(60)

    async def main():
        function, args = (hangs, sys.argv[2:]) if sys.argv[1] == "hangs" else (count, [CONFIG])
        text = encode_arguments(function, args, {}, what="it")
        print((await run_isolated(function, text, limits=Isolation(), step_key="k")).decode())

    if __name__ == "__main__":
        asyncio.run(main())
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def test_functions_of_the_script_itself_can_be_isolated(script):
    """Also when its module holds frozen instances of its own classes."""
    done = subprocess.run([sys.executable, script, "count"], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ('{"pages":4}\n', "")


@pytest.mark.process
async def test_child_ends_when_its_parent_is_killed(script, tmp_path):
    marker = tmp_path / "pid"
    parent = await asyncio.create_subprocess_exec(sys.executable, script, "hangs", marker)
    (child,) = await pids(marker)

    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    await eventually(lambda: not alive(child))


def test_script_that_is_no_python_file_is_refused(tmp_path):
    with pytest.raises(StepUsageError, match="cannot be imported; give it a name ending in"):
        child._load_script("jobs", str(tmp_path / "jobs.txt"))
