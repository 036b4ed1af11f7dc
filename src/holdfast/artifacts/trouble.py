"""What the storage library's errors mean: one place that knows their texts."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from enum import StrEnum

from obstore.exceptions import BaseError

ERRORS = (BaseError, OSError)
"""What the storage library raises, and what the file system does."""

_REFUSED_ERRNOS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
)
_PASSING_STATUSES = frozenset({408, 429})

# The library gives one error class for most of this and puts the answer into its text.
_S3_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_HTTP_STATUS = re.compile(r"status code: (\d{3})\b")
_OS_ERROR = re.compile(r"([^:\n]+) \(os error (\d+)\)")


class Kind(StrEnum):
    """What can be done about it."""

    MISSING = "missing"
    """There is no such object."""
    REFUSED = "refused"
    """It will be refused again until somebody changes the setup."""
    PASSING = "passing"
    """Trying again may help."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error of the storage in our words."""

    kind: Kind
    reason: str
    """Never the library's own text, which quotes whole answers of the server."""


def diagnose(error: Exception) -> Trouble:
    """Say what an error out of `ERRORS` means."""
    text = str(error)
    if status := _HTTP_STATUS.search(text):
        return _answered(int(status[1]), text)
    if isinstance(error, OSError) and error.errno is not None:
        return _from_system(error.errno, error.strerror or type(error).__name__)
    if found := _OS_ERROR.search(text):
        return _from_system(int(found[2]), found[1].strip())
    if isinstance(error, FileNotFoundError):
        return Trouble(Kind.MISSING, "there is no such object")
    if "HTTP error" in text:
        return Trouble(Kind.PASSING, "the endpoint cannot be reached")
    return Trouble(Kind.PASSING, type(error).__name__)


def _answered(status: int, text: str) -> Trouble:
    code = _S3_CODE.search(text)
    name = code[1] if code else f"HTTP status {status}"
    if status == 404 and name != "NoSuchBucket":
        return Trouble(Kind.MISSING, "there is no such object")
    if status >= 500 or status in _PASSING_STATUSES:
        return Trouble(Kind.PASSING, f"the endpoint answers {name}")
    return Trouble(Kind.REFUSED, f"the endpoint refuses with {name}")


def _from_system(number: int, reason: str) -> Trouble:
    if number == errno.ENOENT:
        return Trouble(Kind.MISSING, reason)
    return Trouble(Kind.REFUSED if number in _REFUSED_ERRNOS else Kind.PASSING, reason)
