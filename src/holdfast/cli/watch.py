"""`holdfast jobs watch`: events as lines, live until the job has ended."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from holdfast.cli import console
from holdfast.cli.exits import ExitStatus, status_of_job
from holdfast.cli.interruption import Interruption
from holdfast.cli.lookup import find_job
from holdfast.cli.shapes import event_shape
from holdfast.cli.wording import duration, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.cli.session import Session
    from holdfast.jobs import Jobs
    from holdfast.model import Event

_STYLES = {
    "completed": "good",
    "started": "busy",
    "suspended": "waiting",
    "retrying": "waiting",
    "cancel_requested": "waiting",
    "failed": "bad",
    "lost": "bad",
    "exceeded": "bad",
}
_VALUE_CHARACTERS = 120


async def watch(session: Session, job_id: str, *, after: int, as_json: bool) -> int:
    """Print the job's events as they come and return the exit status."""
    show = _print_json_line if as_json else _print_line()
    async with session.jobs() as client:
        job = await find_job(client, job_id)
        with Interruption(lambda: None, lambda: None).watching() as interruption:
            reading = asyncio.create_task(_read(client, job.job_id, after, show))
            stopping = asyncio.create_task(interruption.requested.wait())
            await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not reading.done():
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                if not as_json:
                    console.stderr().print(f"Left job {job.job_id} alone; it goes on.", style="quiet")
                return interruption.exit_status
            reading.result()
        job = await client.get(job.job_id)
    return int(status_of_job(job.status)) if job.status.terminal else ExitStatus.OK


async def _read(client: Jobs, job_id: str, after: int, show: Callable[[Event], None]) -> None:
    async for event in client.events(job_id, after=after):
        show(event)


def _print_json_line(event: Event) -> None:
    sys.stdout.write(msgspec.json.encode(event_shape(event), enc_hook=str).decode() + "\n")
    sys.stdout.flush()


def _print_line() -> Callable[[Event], None]:
    out = console.stdout()

    def show(event: Event) -> None:
        line = Text()
        line.append(f"{event.seq:>6}  ", style="quiet")
        line.append(f"{event.at.astimezone():%H:%M:%S}  ", style="quiet")
        line.append(f"{event.type:<18} ", style=_STYLES.get(event.type.rpartition(".")[2], ""))
        line.append(describe(event.type, msgspec.json.decode(event.data)))
        out.print(line, no_wrap=True, overflow="ellipsis", crop=True)
        sys.stdout.flush()

    return show


def describe(event_type: str, fields: dict[str, Any]) -> str:
    """Return an event's fields as words for people."""
    match event_type:
        case "progress":
            eta = fields["eta_seconds"]
            left = f" · about {duration(eta)} left" if eta else ""
            words = f"{fields['fraction']:.0%} · {fields['label']}{left}".replace("%", " %", 1)
        case "step.completed":
            tries = f" · {fields['attempts']} attempts" if fields["attempts"] > 1 else ""
            words = f"{fields['key']} · {duration(fields['seconds'])}{tries}"
        case "step.retrying":
            words = (
                f"{fields['key']} · {fields['error']['type']} · waits {duration(fields['wait_seconds'])}"
            )
        case "usage":
            price = "price unknown" if fields["usd"] is None else f"${fields['usd']}"
            tokens = f"{fields['input_tokens']:,} + {fields['output_tokens']:,} tokens"
            words = f"{fields['step_key']} · {fields['model']} · {tokens} · {price}"
        case "job.failed" | "attempt.failed" if fields.get("error"):
            words = f"{fields['error']['type']}: {fields['error']['message']}"
        case _:
            words = " ".join(f"{name}={_short(value)}" for name, value in fields.items())
    return printable(words)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _VALUE_CHARACTERS else text[: _VALUE_CHARACTERS - 1] + "…"
