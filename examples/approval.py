"""A draft is published, a person says yes or no; a no takes the publication back."""

import asyncio
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from holdfast import App, FatalError, JobContext
from holdfast.errors import JobFailedError

SITE = Path("site")


class Approval(BaseModel):
    approved: bool
    by: str


def publish(name: str, text: str) -> str:
    """Write the page; writing it again changes nothing, so the step may be repeated."""
    SITE.mkdir(exist_ok=True)
    (SITE / name).write_text(text)
    return name


def unpublish(name: str, _text: str) -> None:
    """Take `publish` back: called with the same arguments."""
    (SITE / name).unlink(missing_ok=True)


def published() -> int:
    return len(list(SITE.glob("*.txt")))


app = App()


@app.job("announcement")
async def announcement(job: JobContext, text: str) -> str:
    name = f"{job.job_id}.txt"
    await job.step("publish", publish, name, text, undo=unpublish)
    answer = await job.wait_for("approval", timeout=timedelta(days=3), returns=Approval)
    if not answer.approved:
        raise FatalError(f"rejected by {answer.by}")
    return f"approved by {answer.by}"


async def ask(text: str, *, approved: bool) -> None:
    async with app.worker() as client:
        job = await client.submit("announcement", text)
        async for event in client.events(job.job_id):
            if event.type == "job.suspended":
                break
        # No worker slot is held now. From a shell: holdfast jobs signal ID approval …
        await client.signal(job.job_id, "approval", {"approved": approved, "by": "Grace"})
        try:
            print(await client.result(job.job_id))
        except JobFailedError as error:
            print(error)
        print("published:", published())


async def main() -> None:
    await ask("We open on Monday.", approved=True)
    await ask("We close on Tuesday.", approved=False)


if __name__ == "__main__":
    asyncio.run(main())
