"""Artifacts in a bucket of S3-compatible storage."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from holdfast.artifacts.object_store import INCOMING, ObjectArtifacts, key_of, stored_at
from holdfast.artifacts.signing import Signer, attachment
from holdfast.artifacts.trouble import ERRORS, Kind
from holdfast.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from obstore.store import ClientConfig, RetryConfig, S3Config

    from holdfast.clock import Clock

LINK_AGE_MAX = timedelta(days=7)
"""The longest that a signature in a query may be good for."""

_RENEWED_AFTER = timedelta(minutes=1)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_TRIES: RetryConfig = {
    "max_retries": 5,
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
    "retry_timeout": timedelta(minutes=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """How to reach the storage, and as whom."""

    endpoint: str | None = None
    """`https://host[:port]`; AWS's own of the region when None."""
    public_endpoint: str | None = None
    """The endpoint as browsers reach it, for links; the same one when None."""
    region: str = "us-east-1"
    access_key_id: str | None = None
    """None to have the library look for AWS's roles: web identity, container, instance."""
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    tries: RetryConfig = field(default_factory=lambda: _TRIES, repr=False)
    """How often and how long a request is tried again on trouble that may pass."""


class S3Artifacts(ObjectArtifacts):
    """Artifacts as objects `prefix/ab/abcdef…` of a bucket; large ones go up in parts.

    An object is written as it is, without a condition: whoever else writes this name writes the
    same bytes, and unlike a conditional write it can be tried again after a lost answer.
    """

    hints = {  # noqa: RUF012 - declared as a class variable where it is used
        Kind.MISSING: "see that HOLDFAST_ARTIFACTS names the bucket and prefix it was written to",
        Kind.REFUSED: "check the bucket's name, the region, the key, and its rights to put, get, "
        "list and delete objects",
        Kind.PASSING: "see that the endpoint is right and answers, then try again",
    }

    def __init__(self, bucket: str, prefix: str, clock: Clock, access: S3Access) -> None:
        """Describe it; nothing is sent yet.

        Raises:
            ConfigError: The bucket's name, an endpoint or the key cannot be right.
        """
        if _BUCKET.fullmatch(bucket) is None:
            raise ConfigError(
                # Not shown: some write a key and a secret before the bucket's name.
                "HOLDFAST_ARTIFACTS names a bucket as no bucket can be called",
                hint="set HOLDFAST_ARTIFACTS to s3://bucket or s3://bucket/prefix",
            )
        self._signer = _signer(access)
        endpoint = access.endpoint or f"https://s3.{access.region}.amazonaws.com"
        for url in (endpoint, access.public_endpoint or endpoint):
            _check_endpoint(url)
        self._base = "/".join(
            part for part in ((access.public_endpoint or endpoint).rstrip("/"), bucket, prefix) if part
        )
        place = "/".join(part for part in (f"s3://{bucket}", prefix) if part)
        store = _open(bucket, prefix, endpoint, access)
        super().__init__(store, clock, place=f"{place} at {urlsplit(endpoint).netloc}")
        self._s3 = store

    def _write(self, sha256: str, content: bytes | Iterator[bytes], part_bytes: int) -> None:
        self._upload(key_of(sha256), content, part_bytes)

    def _renew(self, sha256: str) -> bool:
        # An object has the date of its writing; a minute ago counts as now.
        found = self._look(sha256)
        return found is not None and stored_at(found) > self._clock.now() - _RENEWED_AFTER

    def _remove(self, sha256: str, before: datetime | None) -> bool:
        if before is not None:
            found = self._look(sha256)
            if found is not None and stored_at(found) >= before:
                return False
        obstore.delete(self._store, key_of(sha256))
        return True

    def _sweep(self, before: datetime) -> int:
        # Only probes can be left here. Parts of an upload that was cut off are no objects, and
        # obstore does not list them: a lifecycle rule of the bucket has to remove them.
        removed = 0
        for page in obstore.list(self._store, prefix=INCOMING):
            for entry in page:
                if stored_at(entry) < before:
                    obstore.delete(self._store, entry["path"])
                    removed += 1
        return removed

    def _link(self, sha256: str, expires: timedelta, filename: str, media_type: str) -> str:
        if not timedelta(seconds=1) <= expires <= LINK_AGE_MAX:
            raise ArtifactError(
                f"a link cannot be good for {expires}: one second to {LINK_AGE_MAX.days} days can be",
                hint="make a new link when the old one has expired",
            )
        if self._signer is None:
            # The key of a role is known to the library only, which cannot sign a file's name.
            try:
                return obstore.sign(self._s3, "GET", key_of(sha256), expires)
            except ERRORS as error:
                self._fail(f"no link to artifact {sha256} in {self.place} can be made", error)
        query = {
            "response-content-disposition": attachment(filename),
            "response-content-type": media_type,
        }
        url = f"{self._base}/{key_of(sha256)}"
        return self._signer.presign(url, query, now=self._clock.now(), expires=expires)


def _open(bucket: str, prefix: str, endpoint: str, access: S3Access) -> S3Store:
    config: S3Config = {
        # By its more specific name, so that no variable of AWS wins over it.
        "aws_endpoint_url_s3": endpoint,
        "region": access.region,
        # By path, as MinIO, Ceph and R2 want it and as links are signed.
        "virtual_hosted_style_request": False,
        "checksum_algorithm": "SHA256",
        # One object at a time is deleted, and not every storage knows the other way.
        "disable_bulk_delete": True,
    }
    if access.access_key_id and access.secret_access_key:
        config["access_key_id"] = access.access_key_id
        config["secret_access_key"] = access.secret_access_key
        if access.session_token:
            config["session_token"] = access.session_token
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=5),
        # Of one part or chunk: a stalled connection is given up and tried again.
        "timeout": timedelta(seconds=60),
    }
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options=options,
        retry_config=access.tries,
    )


def _signer(access: S3Access) -> Signer | None:
    if access.access_key_id and access.secret_access_key:
        return Signer(
            access_key_id=access.access_key_id,
            secret_access_key=access.secret_access_key,
            session_token=access.session_token,
            region=access.region,
        )
    if access.access_key_id or access.secret_access_key:
        raise ConfigError(
            "of the S3 key only one half is set",
            hint="set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if access.endpoint:
        # Only AWS has roles; elsewhere the library would ask an address that is not there.
        raise ConfigError(
            f"artifact storage at {urlsplit(access.endpoint).hostname!r} needs a key, none is set",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    return None


def _check_endpoint(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:
        fits = False
        parts = urlsplit("")
    if not fits or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "the S3 endpoint is no usable URL",  # not shown: it may hold a password
            hint="give scheme, host and port only, such as https://minio.example.org:9000",
        )
