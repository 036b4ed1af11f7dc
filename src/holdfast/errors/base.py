"""What all errors are, and the signal that is none."""

from __future__ import annotations

from typing import ClassVar


class HoldfastError(Exception):
    """Base of all errors that Holdfast raises on purpose."""

    code: ClassVar[str] = "holdfast_error"
    transient: ClassVar[bool] = False
    """Whether trying again later may help without anything else changing."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class LeaseLost(BaseException):
    """This attempt no longer owns the job: another claim, a rescue or a drain came between.

    Not to be caught by job code: nothing the attempt still does can be stored.
    """
