"""A paid order as a scenario: what its customer finds in the mailbox is audited, too."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.mail.messages import message_id_of
from holdfast.apps.reports.orders.models import MailSort, OrderDetails
from holdfast.apps.reports.orders.payments.test_mode import PaymentAct
from holdfast.apps.reports.orders.shop import Shop
from holdfast.store.orders import OrderQuery, Payment
from holdfast.testing.crash import MortalMailer
from tests.apps.reports.conftest import report_request
from tests.apps.reports.orders.conftest import EMAIL, Postbox, make_shop, told
from tests.crash.world import Ending, Hands, Scenario


@dataclass(kw_only=True)
class OrderScenario(Scenario):
    """A customer has ordered and paid; workers serve the order."""

    options: dict[str, int] = field(default_factory=dict)
    """How small the reports are."""
    mails: frozenset[MailSort]
    """What the customer is to find in the mailbox."""
    parts: tuple[str, ...] = ()
    """Kinds of the jobs that the product has made by others."""
    payment: Payment = Payment.PAID
    outcome: MailSort | None
    """What the order keeps of its end."""

    async def submit(self, hands: Hands) -> str:
        """Order and pay, and return the id of the order's job."""
        shop = shop_of(hands)
        details = OrderDetails(email=EMAIL, request=report_request(**self.options))
        checkout = await desk.open_order(shop, self.kind, details)
        job = (await told(shop, checkout.order, PaymentAct.PAY)).job
        assert job is not None
        return job.job_id

    async def cancel(self, hands: Hands, job_id: str) -> None:
        """Give the money back."""
        [order] = await hands.orders.list_orders(OrderQuery())
        await told(shop_of(hands), order, PaymentAct.REFUND)

    def resources(self, hands: Hands) -> dict[type, object]:
        return {Shop: shop_of(hands)}

    def check(self, ending: Ending) -> None:
        """Check that all was made once, and each e-mail came once but for one in flight at the death."""
        [order] = ending.orders
        assert (order.payment, order.outcome) == (self.payment, self.outcome)
        kinds = sorted(job.kind for job in ending.jobs)
        assert kinds == sorted(["order", self.kind, *self.parts])
        sender = Postbox().sender
        expected = {message_id_of(order.order_id, sort, sender): sort for sort in self.mails}
        assert {mail.message_id for mail in ending.mails.received} == expected.keys()
        for message_id, sort in expected.items():
            lives = ending.mails.lives_of(message_id)
            assert lives in ([1], [2], [1, 2]), f"e-mail {sort!r} came in lives {lives}"
            known = f"mail/{sort}" in ending.finished_at_crash
            assert not (known and len(lives) > 1), f"e-mail {sort!r} was sent again"


def shop_of(hands: Hands) -> Shop:
    """Return the shop as a life has it."""
    mailer = MortalMailer(Postbox(), hands.life, hands.mails, number=hands.number)
    return make_shop(hands.orders, hands.client, mailer, hands.clock)
