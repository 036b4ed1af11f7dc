"""Artifacts: files that jobs make, addressed by content; `open_artifacts` picks the place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.artifacts.object_store import ObjectArtifacts
    from holdfast.artifacts.s3 import S3Access
    from holdfast.clock import Clock
    from holdfast.settings import Settings

_S3 = "s3://"


def open_artifacts(url: str, clock: Clock, *, access: S3Access | None = None) -> ObjectArtifacts:
    """Open the artifact storage at `url`: `s3://bucket/prefix`, or the path of a folder.

    Nothing is sent yet; `check` tells whether it works.

    Args:
        url: The place.
        clock: Dates links, and tells what is old enough to be swept.
        access: How to reach S3-compatible storage; AWS with its roles by default.

    Raises:
        ConfigError: The URL or the access cannot be right.
        ArtifactError: The folder cannot be created.
    """
    # Imported here, so that the seam can be imported without any implementation.
    if url.startswith(_S3):
        from holdfast.artifacts.s3 import S3Access, S3Artifacts

        bucket, _, prefix = url.removeprefix(_S3).partition("/")
        return S3Artifacts(bucket, prefix.strip("/"), clock, access or S3Access())
    scheme, separator, _ = url.partition("://")
    if separator:
        # Only the scheme is shown: the rest may hold a password.
        raise ConfigError(
            f"artifact storage with scheme {scheme!r} is not supported",
            hint="set HOLDFAST_ARTIFACTS to a folder or to s3://bucket/prefix",
        )
    from pathlib import Path

    from holdfast.artifacts.local import LocalArtifacts

    return LocalArtifacts(Path(url), clock)


def artifacts_of(settings: Settings, clock: Clock) -> ObjectArtifacts:
    """Return the artifact storage that the settings describe.

    Raises:
        ConfigError, ArtifactError: See `open_artifacts`.
    """
    if not settings.artifacts_url.startswith(_S3):
        return open_artifacts(settings.artifacts_url, clock)
    from holdfast.artifacts.s3 import S3Access

    secret, token = settings.aws_secret_access_key, settings.aws_session_token
    access = S3Access(
        endpoint=settings.s3_endpoint,
        public_endpoint=settings.s3_public_endpoint,
        region=settings.s3_region,
        access_key_id=settings.aws_access_key_id,
        secret_access_key=secret.get_secret_value() if secret else None,
        session_token=token.get_secret_value() if token else None,
    )
    return open_artifacts(settings.artifacts_url, clock, access=access)
