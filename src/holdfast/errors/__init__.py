"""Every exception of Holdfast.

HoldfastError(code, hint)
├── ConfigError            UnknownJobKindError · DuplicateJobKindError · SchemaVersionError
├── RequestError           JobNotFoundError · InvalidInputError · IdempotencyConflictError
│                          · JobFinishedError · JobNotFinishedError · NotAuthenticatedError
│                          · AccessDeniedError · RequestTooLargeError · TooManyRequestsError
│                          · ArtifactNotFoundError · KeyNotFoundError · RequestTimeoutError
│                          · StreamsFullError · TooManyStreamsError · WebhookNotFoundError
│                          · OrderNotFoundError · OrderFileNotFoundError · OrderStateError
│                          · InvalidSignatureError
├── JobError               RetryLaterError · FatalError · StepFailedError · StepTimeoutError
│                          · DuplicateStepError · StepUsageError · ValueTooLargeError
│                          · UnserializableValueError · CheckpointTypeError · CheckpointConflictError
│                          · BudgetExceededError · MapFailedError · IsolationError
│                          · JobTimeoutError · SoftLimitError · PoisonJobError · JobFailedError
│                          · JobCancelledError · SignalTimeoutError · WebhookUndeliveredError
│                          · WebhookRefusedError · BundleIncompleteError
├── StoreError             StoreUnavailableError (transient) · StoreFullError · StoreCorruptError
│                          · SealedValueError
├── ArtifactError          ArtifactUnavailableError (transient)
├── DispatchError
├── ServiceUnavailableError (transient)
├── PaymentServiceError
├── MailUnavailableError (transient) · MailRefusedError
└── LLMError               RateLimitedError · ProviderUnavailableError · ProviderTimeoutError
                           · ContextTooLongError · ContentRefusedError · InvalidResponseError
                           · TruncatedResponseError · ProviderRequestError · AccountRefusedError
                           · LaneHeldError
signal (BaseException):    LeaseLost

A message says what happened to which thing, the limit or cause, and what to do.
`code` is stable and has a row in `docs/errors.md`.
"""

from holdfast.errors.base import (
    HoldfastError,
    LeaseLost,
)
from holdfast.errors.job import (
    BudgetExceededError,
    BundleIncompleteError,
    CheckpointConflictError,
    CheckpointTypeError,
    DuplicateStepError,
    FatalError,
    IsolationError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobTimeoutError,
    MapFailedError,
    PoisonJobError,
    RetryLaterError,
    SignalTimeoutError,
    SoftLimitError,
    StepFailedError,
    StepTimeoutError,
    StepUsageError,
    UnserializableValueError,
    ValueTooLargeError,
    WebhookRefusedError,
    WebhookUndeliveredError,
)
from holdfast.errors.llm import (
    AccountRefusedError,
    ContentRefusedError,
    ContextTooLongError,
    InvalidResponseError,
    LaneHeldError,
    LLMError,
    ProviderRequestError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    TruncatedResponseError,
)
from holdfast.errors.request import (
    AccessDeniedError,
    ArtifactNotFoundError,
    ConfigError,
    DuplicateJobKindError,
    IdempotencyConflictError,
    InvalidInputError,
    InvalidSignatureError,
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    KeyNotFoundError,
    NotAuthenticatedError,
    OrderFileNotFoundError,
    OrderNotFoundError,
    OrderStateError,
    RequestError,
    RequestTimeoutError,
    RequestTooLargeError,
    SchemaVersionError,
    StreamsFullError,
    TooManyRequestsError,
    TooManyStreamsError,
    UnknownJobKindError,
    WebhookNotFoundError,
)
from holdfast.errors.seams import (
    ArtifactError,
    ArtifactUnavailableError,
    DispatchError,
    MailRefusedError,
    MailUnavailableError,
    PaymentServiceError,
    SealedValueError,
    ServiceUnavailableError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

__all__ = [
    "AccessDeniedError",
    "AccountRefusedError",
    "ArtifactError",
    "ArtifactNotFoundError",
    "ArtifactUnavailableError",
    "BudgetExceededError",
    "BundleIncompleteError",
    "CheckpointConflictError",
    "CheckpointTypeError",
    "ConfigError",
    "ContentRefusedError",
    "ContextTooLongError",
    "DispatchError",
    "DuplicateJobKindError",
    "DuplicateStepError",
    "FatalError",
    "HoldfastError",
    "IdempotencyConflictError",
    "InvalidInputError",
    "InvalidResponseError",
    "InvalidSignatureError",
    "IsolationError",
    "JobCancelledError",
    "JobError",
    "JobFailedError",
    "JobFinishedError",
    "JobNotFinishedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "KeyNotFoundError",
    "LLMError",
    "LaneHeldError",
    "LeaseLost",
    "MailRefusedError",
    "MailUnavailableError",
    "MapFailedError",
    "NotAuthenticatedError",
    "OrderFileNotFoundError",
    "OrderNotFoundError",
    "OrderStateError",
    "PaymentServiceError",
    "PoisonJobError",
    "ProviderRequestError",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "RateLimitedError",
    "RequestError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "RetryLaterError",
    "SchemaVersionError",
    "SealedValueError",
    "ServiceUnavailableError",
    "SignalTimeoutError",
    "SoftLimitError",
    "StepFailedError",
    "StepTimeoutError",
    "StepUsageError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "StreamsFullError",
    "TooManyRequestsError",
    "TooManyStreamsError",
    "TruncatedResponseError",
    "UnknownJobKindError",
    "UnserializableValueError",
    "ValueTooLargeError",
    "WebhookNotFoundError",
    "WebhookRefusedError",
    "WebhookUndeliveredError",
]
