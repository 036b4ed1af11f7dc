"""An application with sealing keys: the same jobs, and nothing of them in the clear on disk."""

from pathlib import Path

import pydantic
import pytest

from holdfast import App, FatalError, JobContext
from holdfast.errors import ConfigError, JobFailedError, SealedValueError
from holdfast.sealing import new_key
from holdfast.settings import Settings

MARK = "Zaphod Beeblebrox"
OLD, NEW = new_key("old"), new_key("new")


def greet(name: str) -> str:
    return f"Hello {name}"


def write_much(name: str) -> str:
    """More than what is kept in the store itself."""
    return f"{name} " * 30_000


def application(home: Path, keys: str | None) -> App:
    secret = None if keys is None else pydantic.SecretStr(keys)
    app = App(Settings(home=home, provider="scripted", sealing_keys=secret))

    @app.job("greet")
    async def welcome(job: JobContext, name: str) -> str:
        job.emit("guest.greeted", name=name)
        text: str = await job.step("greet", greet, name)
        await job.step("much", write_much, name)
        answer: str = await job.wait_for("answer")
        return text + answer

    @app.job("fail")
    async def fail(job: JobContext, name: str) -> None:
        raise FatalError(f"{name} is not on the list")

    return app


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


async def live(app: App) -> str:
    """Run a job that ends well and one that fails; return the first one's id."""
    async with app.worker() as client:
        job = await client.submit("greet", MARK)
        await client.signal(job.job_id, "answer", f", said {MARK}")
        assert await client.result(job.job_id) == f"Hello {MARK}, said {MARK}"
        failing = await client.submit("fail", MARK)
        with pytest.raises(JobFailedError, match=MARK):
            await client.result(failing.job_id)
    return job.job_id


async def test_no_content_lies_on_the_disk(tmp_path: Path):
    job_id = await live(application(tmp_path, OLD))

    assert MARK.encode() not in everything_in(tmp_path)
    async with application(tmp_path, f"{NEW},{OLD}").client() as client:
        events = [event.data async for event in client.events(job_id)]
        assert await client.result(job_id) == f"Hello {MARK}, said {MARK}"
    assert f'{{"name":"{MARK}"}}'.encode() in events


async def test_large_result_is_read_again_under_the_next_key(tmp_path: Path):
    async with application(tmp_path, OLD).worker() as client:
        job = await client.submit("greet", MARK)
        async for event in client.events(job.job_id):
            if event.type == "job.suspended":
                break

    async with application(tmp_path, f"{NEW},{OLD}").worker() as client:
        await client.signal(job.job_id, "answer", "!")
        assert await client.result(job.job_id) == f"Hello {MARK}!"


async def test_without_keys_content_lies_there_in_the_clear(tmp_path: Path):
    await live(application(tmp_path, None))

    assert MARK.encode() in everything_in(tmp_path)


async def test_missing_keys_are_told_at_start(tmp_path: Path):
    await live(application(tmp_path, OLD))

    with pytest.raises(SealedValueError, match="'old', which is not among the sealing keys"):
        async with application(tmp_path, None).client():
            pass


async def test_unusable_keys_are_told_at_start_without_being_shown(tmp_path: Path):
    with pytest.raises(ConfigError, match="sealing key number 1") as caught:
        async with application(tmp_path, "a:hidden").client():
            pass

    assert "hidden" not in str(caught.value)
    assert "hidden" not in repr(Settings(sealing_keys=pydantic.SecretStr("a:hidden")))
