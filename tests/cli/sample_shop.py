"""An application with a shop for tests of operators' commands: reports that are made at once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from holdfast import App, FatalError, JobContext
from holdfast.apps.reports.jobs import PRODUCTS
from holdfast.apps.reports.models import ReportRequest, ReportResult
from holdfast.apps.reports.orders.fulfilment import register_orders
from holdfast.apps.reports.orders.links import Links
from holdfast.apps.reports.orders.mail.base import parse_sender
from holdfast.apps.reports.orders.mail.outbox import OutboxMailer
from holdfast.apps.reports.orders.payments.test_mode import TestPayments
from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.terms import load_terms
from holdfast.errors import MailRefusedError
from holdfast.server.tokens import Tokens
from holdfast.wiring.extension import Extension

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.apps.reports.orders.mail.base import Mail
    from holdfast.clock import Clock
    from holdfast.settings import Settings
    from holdfast.store.orders import Order, PaymentEvent
    from holdfast.wiring.opening import Opened

SECRET = "a secret of the tests, long enough for everybody"
URL = "https://reports.example"
PDF = b"%PDF-1.7 of a sample\n"
CURSED = "Nobody"
"""Whoever is called so gets no report, the first time."""


class Bouncing(OutboxMailer):
    """Refuses addresses of one host."""

    async def send(self, mail: Mail) -> None:
        if mail.to.endswith("@bounces.example"):
            raise MailRefusedError("there is no such mailbox")
        await super().send(mail)


class Payments(TestPayments):
    """A payment service that may have news of its own."""

    news: PaymentEvent | None = None

    async def look_up(self, order: Order) -> PaymentEvent | None:
        return self.news


async def make(job: JobContext, request: ReportRequest) -> ReportResult:
    """Write a sample of a report."""
    if request.birth.name == CURSED:
        raise FatalError("the stars are out")
    artifact = await job.save_artifact("report.pdf", PDF)
    return ReportResult(
        artifact="report.pdf",
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        pages=20,
        answers=4,
        batches=1,
    )


@contextlib.asynccontextmanager
async def open_shop(
    settings: Settings, opened: Opened, clock: Clock
) -> AsyncIterator[dict[type, object]]:
    sender = parse_sender("Acme Reports <reports@acme.example>")
    yield {
        Shop: Shop(
            mode="test",
            orders=opened.orders,
            client=opened.client,
            terms=load_terms(),
            payments=Payments([SECRET], URL, clock),
            mailer=Bouncing(settings.home / "outbox", sender, clock),
            links=Links(URL, Tokens([SECRET], clock), clock),
            clock=clock,
        )
    }


app = App()
for product in PRODUCTS[:3]:
    app.registry.add(product.kind, make, queue=product.queue)
register_orders(app.registry)
app.extensions.append(Extension(open=open_shop, routers=list))
