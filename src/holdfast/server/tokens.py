"""Signed tokens: to look at one job, and for sessions of the console. Nothing is kept of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from itsdangerous import BadData, Signer, URLSafeSerializer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.clock import Clock

JOB_TOKEN_PREFIX = "hfj_"  # noqa: S105 - what a token begins with is no secret
JOB_TOKEN_LIFETIME = timedelta(days=7)


class Tokens:
    """Makes and reads tokens under the service's secrets: the first one signs, all are accepted."""

    def __init__(self, secrets: Sequence[str], clock: Clock) -> None:
        """Take the secrets, the one in use first."""
        self._clock = clock
        # It signs with the last one.
        self._keys = list(reversed(secrets))

    def for_job(self, job_id: str, lifetime: timedelta = JOB_TOKEN_LIFETIME) -> str:
        """Return a token that lets its holder see one job, for an end user's browser."""
        return JOB_TOKEN_PREFIX + self.sign("job", job_id, lifetime)

    def read_job(self, token: str) -> str | None:
        """Return the id of the job that the token is for; None if it is wrong or expired."""
        if not token.startswith(JOB_TOKEN_PREFIX):
            return None
        found = self.read("job", token.removeprefix(JOB_TOKEN_PREFIX))
        return found if isinstance(found, str) else None

    def sign(self, purpose: str, value: Any, lifetime: timedelta) -> str:
        """Return a token for a JSON value; one made for another purpose is not accepted in its place."""
        return self.sign_until(purpose, value, self._clock.now() + lifetime)

    def sign_until(self, purpose: str, value: Any, until: datetime) -> str:
        """Return the same, always alike for the same value and moment."""
        text = self._serializer(purpose).dumps([value, int(until.timestamp())])
        return text if isinstance(text, str) else text.decode()

    def read(self, purpose: str, token: str) -> Any:
        """Return the value of a token; None if it is expired, or not signed here for this purpose."""
        try:
            value, expires = self._serializer(purpose).loads(token)
        except (BadData, ValueError, TypeError):
            return None
        return value if datetime.fromtimestamp(expires, UTC) > self._clock.now() else None

    def mark(self, purpose: str, text: str) -> str:
        """Return what only this service can say of a text: always the same, without an end."""
        return self._signer(purpose).get_signature(text).decode()

    def is_mark(self, purpose: str, text: str, mark: str) -> bool:
        """Whether `mark` is what this service says of the text for this purpose."""
        return self._signer(purpose).verify_signature(text.encode(), mark)

    def _signer(self, purpose: str) -> Signer:
        return Signer(self._keys, salt=f"holdfast {purpose}")

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._keys, salt=f"holdfast {purpose}")
