"""What a submission may ask for beyond what its kind gives: only a key that may `control` jobs gets it.

Otherwise a key that may only submit could lift the limit on what its jobs spend, or push them past
everybody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import AccessDeniedError
from holdfast.server.access import Action

if TYPE_CHECKING:
    from decimal import Decimal

    from holdfast.engine.registry import JobKind
    from holdfast.model import Budget
    from holdfast.server.access import Principal
    from holdfast.server.schemas import Submission


def check_submission(principal: Principal, asked: Submission, kind: JobKind) -> None:
    """Check what a submission asks for beside its budget; lower priorities are anybody's.

    Raises:
        AccessDeniedError: It asks for more than its kind gives, and the key must not `control`.
    """
    check_line(principal, asked.queue or kind.queue, asked.priority or kind.priority, kind)
    if asked.concurrency_key is not None:
        # It would be counted by itself, or hold up those who have it already.
        _demand(principal, "a concurrency key of its own")


def check_line(principal: Principal, queue: str, priority: int, kind: JobKind) -> None:
    """Check in which line and how far ahead a job is to wait.

    Raises:
        AccessDeniedError: It asks for more than its kind gives, and the key must not `control`.
    """
    if priority > kind.priority:
        _demand(principal, "a higher priority than its kind has")
    if queue != kind.queue:
        _demand(principal, "another queue than its kind has")


def check_budget(principal: Principal, asked: Budget, given: Budget) -> None:
    """Check a budget; smaller ones are anybody's.

    Raises:
        AccessDeniedError: It is larger than what was given, and the key must not `control`.
    """
    if _larger(asked.usd, given.usd) or _larger(asked.tokens, given.tokens):
        _demand(principal, "a larger budget")


def _larger(asked: Decimal | int | None, given: Decimal | int | None) -> bool:
    return given is not None and (asked is None or asked > given)


def _demand(principal: Principal, what: str) -> None:
    if Action.CONTROL not in principal.actions:
        raise AccessDeniedError(name=principal.name, action=f"{Action.CONTROL}, for {what}")
