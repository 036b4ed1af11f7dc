"""Keeps e-mails as files instead of sending them: for a shop in test mode."""

from __future__ import annotations

import asyncio
import email
import os
from email import policy
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from holdfast.apps.reports.orders.mail.mime import encode
from holdfast.errors import MailUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.apps.reports.orders.mail.base import Mail, Sender
    from holdfast.clock import Clock

T = TypeVar("T")

SUFFIX = ".eml"
"""Mail programs open files of this name."""


class OutboxMailer:
    """Writes each e-mail to a file, for its owner's eyes only; a repeat replaces it."""

    def __init__(self, folder: Path, sender: Sender, clock: Clock) -> None:
        """Take where to keep e-mails; the folder is made with the first one."""
        self._folder = folder
        self._sender = sender
        self._clock = clock

    @property
    def sender(self) -> Sender:
        return self._sender

    def path_of(self, message_id: str) -> Path:
        """Return where an e-mail is or would be."""
        return self._folder / f"{quote(message_id, safe='@')}{SUFFIX}"

    async def send(self, mail: Mail) -> None:
        """Write an e-mail so that it is there as a whole or not at all, whatever dies.

        Raises:
            MailRefusedError: It cannot be written as an e-mail.
            MailUnavailableError: The disk is full, or the folder is not ours to write to.
        """
        content = encode(mail, self._sender, self._clock.now(), to=mail.to, utf8=not mail.to.isascii())
        await self._on_disk(lambda: self._write(self.path_of(mail.message_id), content))

    async def check(self) -> str:
        """Make the folder and return it.

        Raises:
            MailUnavailableError: It cannot be made.
        """
        await self._on_disk(self._prepare)
        return f"files in {self._folder}, sent to nobody"

    async def forget(self, address: str) -> int:
        """Delete the e-mails to an address, however it is written, and return how many those were.

        Raises:
            MailUnavailableError: The folder cannot be read or written to.
        """
        return await self._on_disk(lambda: self._delete(address.strip().casefold()))

    async def _on_disk(self, act: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(act)
        except OSError as error:
            raise MailUnavailableError(
                f"e-mails cannot be kept in {str(self._folder)!r}: {error.strerror}",
                hint="this user must be able to write there",
            ) from None

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        self._prepare()
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        self._settle()

    def _delete(self, address: str) -> int:
        # Drafts that a killed process has left, too.
        paths = self._folder.glob(f"*{SUFFIX}*")
        found = [path for path in paths if _recipient_of(path) == address]
        for path in found:
            path.unlink(missing_ok=True)
        if found:
            self._settle()
        return len(found)

    def _settle(self) -> None:
        """Have the folder's names on disk, too."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _recipient_of(path: Path) -> str:
    with path.open("rb") as file:
        message = email.message_from_binary_file(file, policy=policy.default)
    return str(message["To"]).strip().casefold()
