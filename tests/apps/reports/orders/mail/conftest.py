"""A real SMTP server, what sends to it, and e-mails to send."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from holdfast.apps.reports.orders.mail.base import Mail, Sender
from holdfast.apps.reports.orders.mail.conversation import Limits
from holdfast.apps.reports.orders.mail.messages import MailFacts, MailPart
from holdfast.apps.reports.orders.mail.server import parse_smtp_url
from holdfast.apps.reports.orders.mail.smtp import SmtpMailer
from holdfast.testing.clock import ManualClock
from holdfast.testing.servers.smtp import Smtp

SENDER = Sender(name="Acme Reports", address="reports@acme.example")
CUSTOMER = "ada.private@customer.example"
SECRET_TEXT = "Uranus told us something private"

PART = MailPart(
    title="The Year Ahead",
    file_url="https://acme.example/orders/order_1/files/personal_horoscope?token=t1",
    pages=1720,
    size_bytes=14_200_000,
)
OTHER_PART = MailPart(
    title="Life Clarity",
    file_url="https://acme.example/orders/order_1/files/life_clarity?token=t2",
    pages=19,
)


def make_mail(**other: str) -> Mail:
    """Return an e-mail of which all but the id is private."""
    given = {
        "message_id": "mail_1@acme.example",
        "to": CUSTOMER,
        "subject": f"Subject: {SECRET_TEXT}",
        "text": f"{SECRET_TEXT}\n.\n.dots\nFrom the start\n",
        "html": f"<p>{SECRET_TEXT}</p>\n",
    }
    return Mail(**(given | other))


def make_facts(**other: Any) -> MailFacts:
    given: dict[str, Any] = {
        "order_id": "order_1",
        "title": "The Year Ahead",
        "name": "Ada Example",
        "parts": (PART,),
        "page_url": "https://acme.example/orders/order_1?token=t0",
        "links_until": date(2027, 1, 26),
        "price": "$59.99",
    }
    return MailFacts(**(given | other))


MakeServer = Callable[..., Smtp]
MakeMailer = Callable[..., SmtpMailer]


@pytest.fixture
def make_server(requires: Callable[..., None]) -> Iterator[MakeServer]:
    requires("openssl")
    made: list[Smtp] = []

    def make(**options: Any) -> Smtp:
        made.append(Smtp(**options).start())
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(make_server: MakeServer) -> Smtp:
    return make_server()


@pytest.fixture
def make_mailer() -> MakeMailer:
    """Make mailers that trust the server's certificate, and give it time on a busy machine."""

    def make(server: Smtp, **options: Any) -> SmtpMailer:
        given: dict[str, Any] = {"ssl_context": server.trust, "limits": Limits()} | options
        url = given.pop("url", server.url)
        return SmtpMailer(parse_smtp_url(url), SENDER, ManualClock(), **given)

    return make
