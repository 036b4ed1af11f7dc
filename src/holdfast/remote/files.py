"""The content of artifacts: taken up again where it breaks off, and checked against its hash."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from holdfast.errors import ArtifactError
from holdfast.remote.transport import ATTEMPTS_MAX, AwayError, Call, wait_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from holdfast.remote.transport import Transport
    from holdfast.remote.views import ServedArtifact


async def stream_content(
    transport: Transport, path: str, artifact: ServedArtifact
) -> AsyncIterator[bytes]:
    """Yield the content of a job's artifact; `path` is the job's.

    Raises:
        ArtifactError: What came is not the artifact.
        HoldfastError: See `Transport.ask`.
    """
    digest, done, failures = hashlib.sha256(), 0, 0
    while done < artifact.size_bytes or not failures:
        try:
            async with contextlib.aclosing(_part(transport, path, artifact, done)) as part:
                async for chunk in part:
                    digest.update(chunk)
                    done += len(chunk)
                    if done > artifact.size_bytes:
                        raise _damaged(artifact)
                    failures = 0
                    yield chunk
            break
        except AwayError as away:
            failures += 1
            wait = wait_seconds(failures, away.after)
            if wait is None or failures >= ATTEMPTS_MAX:
                raise away.error from away.__cause__
        await transport.clock.sleep(wait)
    if done != artifact.size_bytes or digest.hexdigest() != artifact.sha256:
        raise _damaged(artifact)


async def _part(
    transport: Transport, path: str, artifact: ServedArtifact, start: int
) -> AsyncGenerator[bytes]:
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": f'"{artifact.sha256}"'}
    name = quote(artifact.name, safe="/")
    call = Call(method="GET", path=f"{path}/artifacts/{name}", headers=headers)
    async with transport.open(call) as response:
        if response.status_code != (206 if start else 200):
            raise _damaged(artifact)
        async for chunk in response.aiter_bytes():
            yield chunk


def _damaged(artifact: ServedArtifact) -> ArtifactError:
    return ArtifactError(
        f"what came as artifact {artifact.name!r} of job {artifact.job_id!r} is not what was saved",
        hint="ask for it again; if it stays so, the storage behind the service is damaged",
    )
