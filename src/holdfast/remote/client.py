"""`holdfast.Client`: jobs of a service elsewhere, by the verbs of `holdfast.jobs.Jobs`."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import msgspec

from holdfast import codec
from holdfast.clock import SystemClock
from holdfast.errors import (
    AccessDeniedError,
    ConfigError,
    InvalidInputError,
    JobNotFoundError,
    RequestError,
    UnserializableValueError,
)
from holdfast.ids import new_id
from holdfast.jobs import IDEMPOTENCY_KEY_CHARACTERS_MAX, decoded_output
from holdfast.model import JobStatus
from holdfast.remote import views
from holdfast.remote.address import Address, is_near
from holdfast.remote.files import stream_content
from holdfast.remote.transport import Call, Transport, decode
from holdfast.remote.watching import BlockedError, Poll, Watch
from holdfast.store.base import JobQuery, JobRecords

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from holdfast.clock import Clock
    from holdfast.jobs import SubmitOptions
    from holdfast.model import Artifact, Budget, Event, Job
    from holdfast.remote.transport import Answer

logger = logging.getLogger(__name__)

T = TypeVar("T")

LIST_MAX = 1_000
_LIST_PAGE = 500
_JOB_ID = re.compile(r"\w{1,100}", re.ASCII)

_encode = msgspec.json.Encoder(enc_hook=str, decimal_format="string").encode
_job = msgspec.json.Decoder(views.JobView)
_page = msgspec.json.Decoder(views.JobPage)
_accepted = msgspec.json.Decoder(views.SignalAccepted)
_steps = msgspec.json.Decoder(views.StepList)
_usage = msgspec.json.Decoder(views.UsageReport)
_artifacts = msgspec.json.Decoder(views.ArtifactList)


class Client:
    """`holdfast.jobs.Jobs` of a service, over HTTP.

    ```python
    async with Client("https://jobs.example", "hf_…") as client:
        job = await client.submit("report", {"name": "Ada"})
        async for event in client.events(job.job_id):
            print(event.seq, event.type)
        report = await client.result(job.job_id, output=Report)
    ```

    Errors are the exceptions that the same call raises on a store, and besides
    `NotAuthenticatedError`, `AccessDeniedError`, `TooManyRequestsError`, `ServiceUnavailableError` where
    the service cannot be reached, and `ConfigError` where something else answers. What the service turns
    away for a moment is asked for again a few times, and so is what a cut connection leaves in doubt, as
    far as doing it twice is as good as once.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, clock: Clock | None = None
    ) -> None:
        """Describe it; nothing is opened before the first call, and `async with` closes what was.

        Args:
            url: Base URL of the service; the setting `HOLDFAST_URL` by default.
            key: Key to it; the setting `HOLDFAST_API_KEY` by default, if `url` is left out, too.
            clock: What waits between attempts; the machine's by default.

        Raises:
            ConfigError: There is no URL, or URL or key cannot be used.
        """
        if url is None:
            url, key = _from_settings(key)
        address = Address(url)
        if key is not None and address.scheme == "http" and not is_near(address.host):
            logger.warning("key is sent without TLS", extra={"service": str(address)})
        self._transport = Transport(address, key, clock or SystemClock())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    # in and out --------------------------------------------------------------------------------

    async def submit(
        self,
        kind: str,
        value: Any = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Accept a job durably and return it; see `holdfast.jobs.Jobs.submit`.

        Without an idempotency key one is made, so that an answer that is lost on the way is asked for
        again and cannot submit twice.
        """
        key = new_id("submit") if idempotency_key is None else idempotency_key
        if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX or not (
            key.isascii() and key.isprintable()
        ):
            raise InvalidInputError(
                f"idempotency key of {len(key)} characters",
                hint=f"use 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} of ASCII, e.g. a hash of the request",
            )
        body: dict[str, Any] = {"kind": kind, "input": _raw(value, f"input of job kind {kind!r}")}
        names = ("queue", "priority", "tenant", "subject", "concurrency_key")
        body |= {name: options[name] for name in names if options.get(name) is not None}  # type: ignore[literal-required]
        delay = options.get("delay")
        if delay is not None:
            body["delay_seconds"] = delay.total_seconds()
        body |= _limits(options.get("budget"))
        headers = {"Idempotency-Key": key}
        return await self._changed("POST", "/jobs", body, headers=headers, repeatable=True)

    async def signal(self, job_id: str, name: str, payload: Any = None) -> int:
        """Send the job a signal and return the number of its event."""
        text = codec.encode_value(payload, None, what=f"payload of signal {name!r}")[0]
        body = _encode({"name": name, "payload": msgspec.Raw(text)})
        answer = await self._ask(Call(method="POST", path=f"{_path(job_id)}/signals", body=body))
        accepted: views.SignalAccepted = self._decoded(answer, _accepted)
        return accepted.seq

    async def cancel(self, job_id: str) -> Job:
        """Ask for the job's end; its owner acts within a second."""
        return await self._changed("POST", f"{_path(job_id)}/cancel", repeatable=True)

    async def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again from where it ended; finished steps stay."""
        return await self._changed("POST", f"{_path(job_id)}/retry")

    async def fork(
        self,
        job_id: str,
        *,
        keep: Sequence[str] | None = None,
        value: Any = None,
        budget: Budget | None = None,
    ) -> Job:
        """Queue a copy of a job that keeps its finished steps, or only those named."""
        body: dict[str, Any] = _limits(budget)
        if keep is not None:
            body["keep"] = list(keep)
        if value is not None:
            body["input"] = _raw(value, f"input of a fork of job {job_id!r}")
        return await self._changed("POST", f"{_path(job_id)}/fork", body)

    async def set_budget(self, job_id: str, budget: Budget) -> Job:
        """Replace the job's budget; a job that waits for budget goes on."""
        body = {"usd": budget.usd, "tokens": budget.tokens}
        return await self._changed("PUT", f"{_path(job_id)}/budget", body, repeatable=True)

    # looking -----------------------------------------------------------------------------------

    async def get(self, job_id: str, *, with_children: bool = False) -> Job:
        """Return the job; its progress has its children's, whether or not that is asked for."""
        return await Poll(self._transport, _path(job_id)).look()

    async def list(self, query: JobQuery | None = None) -> Sequence[Job]:
        """Return jobs, newest first, without their inputs and outputs: `get` has them."""
        asked = query or JobQuery()
        if not 1 <= asked.limit <= LIST_MAX:
            raise InvalidInputError(f"limit {asked.limit!r} of a job list must be 1 to {LIST_MAX}")
        found: list[Job] = []
        cursor = asked.before
        while len(found) < asked.limit:
            wanted = {
                **_filters(asked),
                "cursor": cursor,
                "limit": min(_LIST_PAGE, asked.limit - len(found)),
            }
            page: views.JobPage = await self._get("/jobs", _page, wanted)
            found += map(views.job_of, page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def records(self, job_id: str) -> JobRecords:
        """Return the job's steps and ledger."""
        steps: views.StepList = await self._get(f"{_path(job_id)}/steps", _steps)
        usage: views.UsageReport = await self._get(f"{_path(job_id)}/usage", _usage)
        return JobRecords(
            checkpoints=tuple(views.checkpoint_of(step, job_id) for step in steps.steps),
            calls=tuple(views.call_of(call, job_id) for call in usage.calls),
        )

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the job's events in order, live, from after `after` until the job has ended.

        By the service's stream, taken up again where it breaks off, for minutes if need be; where
        something between keeps streams back, by asking as often as the service wants to be asked.
        """
        async for event in Watch(self._transport, job_id, _path(job_id), after).events():
            yield event

    async def wait(self, job_id: str) -> Job:
        """Return the job once it is terminal."""
        poll = Poll(self._transport, _path(job_id))
        while not (job := await poll.look()).status.terminal:
            watch = Watch(self._transport, job_id, _path(job_id), job.event_seq)
            try:
                async with contextlib.aclosing(watch.streamed()) as streamed:
                    async for _ in streamed:
                        continue
            except (BlockedError, AccessDeniedError):
                # A key that may see jobs need not be one that may see what is in them.
                return await poll.until_terminal()
        return job

    async def result(self, job_id: str, *, output: Any = None) -> Any:
        """Wait for the job and return its output: as the type `output`, or as plain JSON values."""
        return self.output_of(await self.wait(job_id), output=output)

    def output_of(self, job: Job, *, output: Any = None) -> Any:
        """Decode the output of a completed job; see `result`.

        Raises:
            RequestError: The job came without its output: from a list, or by a key without `content`.
        """
        if job.status is JobStatus.COMPLETED and job.output is None:
            raise RequestError(
                f"job {job.job_id!r} came without its output: lists leave it out, and so it is for keys"
                " that do not allow 'content'",
                hint="get the job by its id, with a key that allows it",
            )
        return decoded_output(job, output)

    async def artifacts(self, job_id: str) -> Sequence[Artifact]:
        """Return the files that the job has saved so far."""
        found: views.ArtifactList = await self._get(f"{_path(job_id)}/artifacts", _artifacts)
        return [views.artifact_of(view, job_id) for view in found.artifacts]

    def stream_artifact(self, artifact: Artifact) -> AsyncIterator[bytes]:
        """Yield an artifact's content in chunks; one that this client's `artifacts` or `records` gave.

        Raises:
            ArtifactError: What came is not what was saved.
            InvalidInputError: It is not known whose artifact it is.
        """
        if not isinstance(artifact, views.ServedArtifact):
            raise InvalidInputError(
                f"it is not known which job artifact {artifact.name!r} belongs to",
                hint="give one that artifacts() of this client has returned",
            )
        return stream_content(self._transport, _path(artifact.job_id), artifact)

    # requests ----------------------------------------------------------------------------------

    async def _changed(self, method: str, path: str, body: Any = None, **options: Any) -> Job:
        text = None if body is None else _encode(body)
        answer = await self._ask(Call(method=method, path=path, body=text, **options))
        return views.job_of(self._decoded(answer, _job))

    async def _get(
        self, path: str, decoder: msgspec.json.Decoder[T], query: dict[str, Any] | None = None
    ) -> T:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        answer = await self._ask(Call(method="GET", path=path, query=given, repeatable=True))
        return self._decoded(answer, decoder)

    async def _ask(self, call: Call) -> Answer:
        return await self._transport.ask(call)

    def _decoded(self, answer: Answer, decoder: msgspec.json.Decoder[T]) -> T:
        found: T = decode(answer, decoder, self._transport.address)
        return found


def _from_settings(key: str | None) -> tuple[str, str | None]:
    from holdfast.settings import load_settings

    settings = load_settings()
    if not settings.url:
        raise ConfigError(
            "there is no service to speak to", hint="give its URL, or set HOLDFAST_URL to it"
        )
    if key is None and settings.api_key is not None:
        key = settings.api_key.get_secret_value()
    return settings.url, key


def _path(job_id: str) -> str:
    """Return the path of a job.

    Raises:
        JobNotFoundError: It cannot be the id of one, and would be the path of something else.
    """
    if _JOB_ID.fullmatch(job_id) is None:
        raise JobNotFoundError(job_id=job_id)
    return f"/jobs/{job_id}"


def _raw(value: Any, what: str) -> msgspec.Raw:
    try:
        return msgspec.Raw(codec.encode_value(value, None, what=what)[0])
    except UnserializableValueError as error:
        raise InvalidInputError(error.message, hint=error.hint) from None


def _limits(budget: Budget | None) -> dict[str, Any]:
    """Return both limits, so that the budget is given whole; none of them for the default."""
    return {} if budget is None else {"budget_usd": budget.usd, "budget_tokens": budget.tokens}


def _filters(query: JobQuery) -> dict[str, Any]:
    if query.kinds is not None:
        raise InvalidInputError(
            "a service lists jobs of one kind or of all, not of several",
            hint="ask once for each kind",
        )
    return {
        "kind": query.kind,
        "status": query.status,
        "tenant": query.tenant,
        "subject": query.subject,
        "parent_id": query.parent_id,
        "created_since": query.created_since and query.created_since.isoformat(),
        "created_before": query.created_before and query.created_before.isoformat(),
    }
