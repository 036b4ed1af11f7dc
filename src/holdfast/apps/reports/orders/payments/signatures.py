"""Signatures of Stripe's webhooks, checked and made by Stripe's own library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stripe import SignatureVerificationError, WebhookSignature

from holdfast.errors import InvalidSignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.clock import Clock

TOLERANCE_SECONDS: Final = 300
"""How old a signature may be: what somebody has recorded cannot be played back for ever."""


class Signatures:
    """Checks and makes the `Stripe-Signature` of webhooks, by secrets and a clock of ours."""

    def __init__(self, secrets: Sequence[str], clock: Clock) -> None:
        """Take the secrets: the first one signs, all of them are accepted, as while one is rolled."""
        self._secrets = tuple(secrets)
        self._clock = clock

    def check(self, body: bytes, header: str) -> None:
        """Return if the header is a signature of the body.

        Raises:
            InvalidSignatureError: It is not, or is older than `TOLERANCE_SECONDS`.
        """
        if not any(self._is_signed(body, header, secret) for secret in self._secrets):
            raise InvalidSignatureError(
                "the webhook is not signed with a secret of ours" if header else "no signature was sent",
                hint="set HOLDFAST_STRIPE_WEBHOOK_SECRET to the signing secret of this very endpoint",
            )
        # The library would ask the machine's clock. Which time it signed is safe to read only now.
        age = int(self._clock.now().timestamp()) - _signed_at(header)
        if age > TOLERANCE_SECONDS:
            raise InvalidSignatureError(
                f"the webhook was signed {age} s ago, more than {TOLERANCE_SECONDS} s",
                hint="set the clock of this machine right; Stripe signs anew each time it sends",
            )

    def sign(self, body: bytes) -> str:
        """Return the header that Stripe would send with a body now."""
        header = WebhookSignature.generate_signature_header(
            body.decode(), self._secrets[0], timestamp=int(self._clock.now().timestamp())
        )
        return str(header)

    @staticmethod
    def _is_signed(body: bytes, header: str, secret: str) -> bool:
        try:
            return header.isascii() and bool(WebhookSignature.verify_header(body, header, secret))
        except (SignatureVerificationError, UnicodeDecodeError):
            return False


def _signed_at(header: str) -> int:
    """Return the time of a header that was checked, found as the library finds it."""
    parts = (part.split("=", 2) for part in header.split(","))
    return next(int(part[1]) for part in parts if part[0] == "t")
