"""Errors of what is behind the seams: store, artifacts, dispatch."""

from __future__ import annotations

from holdfast.errors.base import HoldfastError


class StoreError(HoldfastError):
    """The store cannot do what was asked."""

    code = "store"


class StoreUnavailableError(StoreError):
    """The store did not answer in time; the same call may succeed later."""

    code = "store_unavailable"
    transient = True


class StoreFullError(StoreError):
    """There is no room left for the write; what was committed before is safe."""

    code = "store_full"
    transient = True


class StoreCorruptError(StoreError):
    """The database file is damaged or is not a Holdfast database."""

    code = "store_corrupt"


class SealedValueError(StoreError):
    """A stored value is sealed and cannot be opened here."""

    code = "sealed_value"

    def __init__(self, *, field: str, owner: tuple[str, ...], key_id: str, known_key: bool) -> None:
        of = f" of {', '.join(map(repr, owner))}" if owner else ""
        if known_key:
            told = f"{field}{of} does not open with sealing key {key_id!r}"
            hint = "it was damaged, changed or moved, or sealed with another key under the same id"
        else:
            told = f"{field}{of} is sealed with key {key_id!r}, which is not among the sealing keys"
            hint = "add that key to HOLDFAST_SEALING_KEYS; without it nothing can open the value"
        super().__init__(told, hint=hint)
        self.key_id = key_id


class ArtifactError(HoldfastError):
    """A file could not be written to or read from artifact storage."""

    code = "artifact"


class ArtifactUnavailableError(ArtifactError):
    """Artifact storage did not answer, or has no room; the same call may succeed later."""

    code = "artifact_unavailable"
    transient = True


class DispatchError(HoldfastError):
    """A job could not be announced to the workers; the waker will announce it again."""

    code = "dispatch"
    transient = True


class ServiceUnavailableError(HoldfastError):
    """A service cannot be reached, or gave no answer; the same call may succeed later."""

    code = "service_unavailable"
    transient = True


class PaymentServiceError(HoldfastError):
    """The payment service cannot be reached, or refuses; nothing was charged by it."""

    code = "payment_service"
    transient = True


class MailUnavailableError(HoldfastError):
    """The mail server cannot be reached or takes nothing now; the same e-mail may go later."""

    code = "mail_unavailable"
    transient = True


class MailRefusedError(HoldfastError):
    """The mail server will never take this e-mail."""

    code = "mail_refused"
