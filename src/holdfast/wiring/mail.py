"""Settings become what sends the e-mails of orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.apps.reports.orders.mail.base import Mailer
    from holdfast.apps.reports.orders.shop import Mode
    from holdfast.clock import Clock
    from holdfast.settings import Settings

OUTBOX: Final = "outbox"
"""Folder in the home folder for e-mails that are sent to nobody."""

TEST_SENDER: Final = "Holdfast Reports <reports@localhost>"
"""Who they are from, unless something is set."""


def open_mailer(settings: Settings, mode: Mode, clock: Clock) -> Mailer:
    """Return what sends e-mails; there is nothing to close.

    Raises:
        ConfigError: The settings cannot be used, or a shop that is paid has no server to send by.
    """
    # Imported here: only workers and services of a shop have what these need.
    from holdfast.apps.reports.orders.mail.base import parse_sender
    from holdfast.apps.reports.orders.mail.outbox import OutboxMailer
    from holdfast.apps.reports.orders.mail.server import parse_smtp_url
    from holdfast.apps.reports.orders.mail.smtp import SmtpMailer

    if settings.smtp_url is not None:
        server = parse_smtp_url(settings.smtp_url.get_secret_value())
        if not settings.mail_from:
            raise ConfigError(
                "HOLDFAST_SMTP_URL is set, and HOLDFAST_MAIL_FROM is not",
                hint="set it to who e-mails are from, such as 'Acme Reports <reports@acme.example>'",
            )
        return SmtpMailer(server, parse_sender(settings.mail_from), clock)
    if mode == "test":
        sender = parse_sender(settings.mail_from or TEST_SENDER)
        return OutboxMailer(settings.home / OUTBOX, sender, clock)
    raise ConfigError(
        "the shop takes real payments and has no server to send e-mails by",
        hint="set HOLDFAST_SMTP_URL and HOLDFAST_MAIL_FROM",
    )
