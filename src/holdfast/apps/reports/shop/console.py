"""Orders in the console: found, looked at and helped on, under its permissions and form guards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from holdfast.apps.reports.jobs import PRODUCTS
from holdfast.apps.reports.orders import desk
from holdfast.apps.reports.orders.finding import find_orders
from holdfast.apps.reports.orders.models import ORDER_KIND, MailSort, customer_of, decode_details
from holdfast.apps.reports.orders.overview import listed, overview_of
from holdfast.apps.reports.orders.shop import Shop
from holdfast.errors import InvalidInputError
from holdfast.server.access import Action
from holdfast.server.console.forms import read_own_form
from holdfast.server.console.pages import SectionRouter, base_of, render
from holdfast.server.console.viewing import Viewer, allowed
from holdfast.server.html import redirect
from holdfast.server.sections import Section
from holdfast.server.service import service_of
from holdfast.store.orders import NOTE_CHARACTERS_MAX, OrderQuery, Payment, PaymentOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.server.access import Principal

ORDERS_SHOWN: Final = 50


def _open_to(resources: Mapping[type, object], principal: Principal) -> bool:
    """Orders belong to no tenant: keys for one tenant, or for other kinds, know nothing of them."""
    return (
        Shop in resources
        and Action.READ in principal.actions
        and principal.tenant is None
        and principal.job_id is None
        and principal.sees_kind(ORDER_KIND)
    )


SECTION: Final = Section(
    path="orders", word="Orders", package="holdfast.apps.reports.shop", open_to=_open_to
)

router: Final = SectionRouter(SECTION)


async def _shop_here(request: Request) -> Shop:
    found = service_of(request).resources[Shop]
    assert isinstance(found, Shop)  # noqa: S101 - what is open is by its type
    return found


Here = Annotated[Shop, Depends(_shop_here)]
Looking = Annotated[Viewer, Depends(allowed(Action.READ, section=SECTION))]
Controlling = Annotated[Viewer, Depends(allowed(Action.READ, Action.CONTROL, section=SECTION))]


@router.get("")
async def show_orders(
    request: Request,
    viewer: Looking,
    here: Here,
    *,
    product: str = "",
    payment: str = "",
    customer: str = "",
    before: str = "",
    missed: bool = False,
) -> Response:
    """Show orders, newest first."""
    query = OrderQuery(
        subject=customer or None,
        product=product or None,
        payment=Payment(payment) if payment in set(Payment) else None,
        before=before or None,
        limit=ORDERS_SHOWN + 1,
    )
    found = await listed(here, await here.orders.list_orders(query))
    return render(
        request,
        "orders.html",
        viewer,
        section=SECTION,
        orders=found[:ORDERS_SHOWN],
        older=found[ORDERS_SHOWN - 1].order.order_id if len(found) > ORDERS_SHOWN else "",
        asked={"product": product, "payment": payment, "customer": customer},
        before=before,
        missed=missed,
        products=[(each.kind, each.title) for each in PRODUCTS],
        payments=[each.value for each in Payment],
        mode=here.mode,
        interval=3,
    )


@router.post("/find")
async def find(request: Request, viewer: Looking, here: Here) -> Response:
    """Lead to the order, or to the customer's orders; addresses travel in forms, never in URLs."""
    form = await read_own_form(request, viewer)
    sought, base = form.get("sought", ""), f"{base_of(request)}/orders"
    if "@" in sought:
        return redirect(f"{base}?customer={quote(customer_of(sought))}")
    found = await find_orders(here, sought)
    return redirect(f"{base}/{quote(found[0].order_id)}" if found else f"{base}?missed=true")


@router.get("/{order_id}")
async def show_order(
    request: Request, order_id: str, viewer: Looking, here: Here, done: str = ""
) -> Response:
    """Show all of an order; who the customer is only to those who may see what jobs hold."""
    page = await overview_of(here, await desk.require_order(here, order_id))
    content = Action.CONTENT in viewer.principal.actions
    ended = page.served_by is None or page.served_by.status.terminal
    return render(
        request,
        "order.html",
        viewer,
        section=SECTION,
        page=page,
        order=page.order,
        details=decode_details(page.order.details) if content else None,
        note=page.order.note if content else None,
        content=content,
        sorts=[each.value for each in MailSort],
        note_max=NOTE_CHARACTERS_MAX,
        mode=here.mode,
        done=done,
        interval=15 if ended and page.order.job_id is not None else 3,
    )


@router.post("/{order_id}/retry")
async def retry(request: Request, order_id: str, viewer: Controlling, here: Here) -> Response:
    """Make again what failed."""
    await read_own_form(request, viewer)
    await desk.retry_order(here, order_id)
    return _back(request, order_id, "retry")


@router.post("/{order_id}/resend")
async def resend(request: Request, order_id: str, viewer: Controlling, here: Here) -> Response:
    """Send one of its e-mails again."""
    form = await read_own_form(request, viewer)
    sort = form.get("sort", "")
    if sort not in set(MailSort):
        raise InvalidInputError(
            f"there is no e-mail {sort[:40]!r}", hint=f"choose one of {', '.join(MailSort)}"
        )
    await desk.resend_mail(here, order_id, MailSort(sort))
    return _back(request, order_id, "resend")


@router.post("/{order_id}/refund")
async def refund(request: Request, order_id: str, viewer: Controlling, here: Here) -> Response:
    """Flag it as given back; no money moves by this."""
    form = await read_own_form(request, viewer)
    await desk.flag_refund(here, order_id, form.get("note") or None)
    return _back(request, order_id, "refund")


@router.post("/{order_id}/note")
async def set_note(request: Request, order_id: str, viewer: Controlling, here: Here) -> Response:
    """Replace the operators' note."""
    form = await read_own_form(request, viewer)
    await here.orders.set_note(order_id, form.get("note") or None)
    return _back(request, order_id, "note")


@router.post("/{order_id}/check")
async def check(request: Request, order_id: str, viewer: Controlling, here: Here) -> Response:
    """Ask the payment service what has become of it."""
    await read_own_form(request, viewer)
    taken = await desk.look_up_payment(here, await desk.require_order(here, order_id))
    news = taken is not None and taken.outcome is PaymentOutcome.APPLIED
    return _back(request, order_id, "news" if news else "no-news")


def _back(request: Request, order_id: str, done: str) -> Response:
    return redirect(f"{base_of(request)}/orders/{quote(order_id)}?done={done}")
