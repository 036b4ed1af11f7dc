"""`holdfast orders`: find orders, see what became of them, and help them on."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from holdfast.cli.jobs_look import AsJson
from holdfast.cli.session import session_of
from holdfast.cli.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from holdfast.apps.reports.orders.overview import Listed
    from holdfast.apps.reports.orders.shop import Shop
    from holdfast.model import Job
    from holdfast.store.orders import Order, Taken

T = TypeVar("T")

OrderId = Annotated[
    str,
    typer.Argument(
        metavar="ORDER",
        help="The order's id, that of its payment page or payment or job, or an e-mail address.",
    ),
]
PaymentName = Literal["awaited", "processing", "paid", "failed", "expired", "refunded"]
MailName = Literal["confirmation", "ready", "failed"]


def list_orders(
    context: typer.Context,
    *,
    email: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Only orders of this customer.")
    ] = None,
    product: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only orders of this product.")
    ] = None,
    payment: Annotated[
        PaymentName | None, typer.Option(help="Only orders whose payment has come to this.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=999, metavar="N", help="At most so many.")] = 20,
    before: Annotated[
        str | None, typer.Option(metavar="ORDER_ID", help="Only orders before this one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List orders, newest first; nothing personal is shown."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    session = session_of(context)

    async def look() -> "list[Listed]":
        from holdfast.apps.reports.orders.models import customer_of
        from holdfast.apps.reports.orders.overview import listed
        from holdfast.store.orders import OrderQuery, Payment

        query = OrderQuery(
            subject=None if email is None else customer_of(email),
            product=product,
            payment=None if payment is None else Payment(payment),
            before=before,
            # One more than asked for, to know whether there are more.
            limit=limit + 1,
        )
        async with open_shop(session) as shop:
            return await listed(shop, await shop.orders.list_orders(query))

    found = run_async(look())
    more, found = len(found) > limit, found[:limit]
    if as_json:
        from holdfast.cli.order_shapes import order_shape

        console.print_json([order_shape(each.order, each.status) for each in found])
    elif found:
        from holdfast.cli.order_page import table_of

        out = console.stdout()
        out.print(table_of(found, width=out.width))
    else:
        console.stderr().print(f"No such orders in {session.place}.")
    if more and not as_json:
        last = found[-1].order.order_id
        console.stderr().print(f"There are more: --before {last}", style="quiet")


def show_order(
    context: typer.Context,
    order_id: OrderId,
    *,
    details: Annotated[
        bool, typer.Option("--details", help="With the customer's personal details.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how an order is paid, made and told of."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    async def look() -> None:
        from holdfast.apps.reports.orders.finding import the_order
        from holdfast.apps.reports.orders.overview import overview_of
        from holdfast.cli.order_page import print_page
        from holdfast.cli.order_shapes import overview_shape

        async with open_shop(session_of(context)) as shop:
            found = await overview_of(shop, await the_order(shop, order_id))
        if as_json:
            console.print_json(overview_shape(found, details=details))
        else:
            print_page(found, console.stdout(), details=details)

    run_async(look())


def check_order(context: typer.Context, order_id: OrderId, *, as_json: AsJson = False) -> None:
    """Ask the payment service about an order, in case it could not tell us."""
    from holdfast.cli import console
    from holdfast.wiring import run_async

    async def ask() -> "tuple[Order, Taken | None]":
        from holdfast.apps.reports.orders.desk import look_up_payment
        from holdfast.apps.reports.orders.finding import the_order

        async with open_shop(session_of(context)) as shop:
            order = await the_order(shop, order_id)
            taken = await look_up_payment(shop, order)
            return (order if taken is None or taken.order is None else taken.order), taken

    order, taken = run_async(ask())
    outcome = None if taken is None else taken.outcome
    if as_json:
        from holdfast.cli.order_shapes import order_shape

        console.print_json({**order_shape(order), "taken": outcome})
        return
    new = "news" if outcome == "applied" else "nothing new"
    console.stdout().print(f"{order.order_id}: {new}, its payment is {order.payment}")
    if taken is not None and taken.job is not None:
        console.stdout().print(f"It is made now, by {taken.job.job_id}.")


def retry_order(context: typer.Context, order_id: OrderId) -> None:
    """Make again what failed of an order, from where it failed."""
    from holdfast.wiring import run_async

    async def retry(shop: "Shop", order: "Order") -> "Job":
        from holdfast.apps.reports.orders import desk

        return await desk.retry_order(shop, order.order_id)

    order, job = run_async(_with_order(context, order_id, retry))
    _told(f"{order.order_id} is made again by {job.job_id}; what is finished stays.")


def resend_mail(
    context: typer.Context,
    order_id: OrderId,
    sort: Annotated[MailName, typer.Argument(metavar="SORT", help="confirmation, ready or failed.")],
) -> None:
    """Send one of an order's e-mails again, as things are now."""
    from holdfast.wiring import run_async

    async def resend(shop: "Shop", order: "Order") -> "Job":
        from holdfast.apps.reports.orders import desk
        from holdfast.apps.reports.orders.models import MailSort

        return await desk.resend_mail(shop, order.order_id, MailSort(sort))

    order, job = run_async(_with_order(context, order_id, resend))
    _told(f"{order.order_id}: the e-mail '{sort}' is sent again by {job.job_id}.")


def flag_refund(
    context: typer.Context,
    order_id: OrderId,
    *,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for operators.")] = None,
) -> None:
    """Flag an order as given back in full; this moves no money, but ends its making."""
    from holdfast.wiring import run_async

    async def flag(shop: "Shop", order: "Order") -> "Order":
        from holdfast.apps.reports.orders import desk

        return await desk.flag_refund(shop, order.order_id, note)

    order, _ = run_async(_with_order(context, order_id, flag))
    _told(
        f"{order.order_id} counts as given back; nothing more is made for it. "
        "The money itself is given back at the payment service, in Stripe's dashboard."
    )


def set_note(
    context: typer.Context,
    order_id: OrderId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="For operators; '' for none.")],
) -> None:
    """Replace the note that operators keep on an order."""
    from holdfast.wiring import run_async

    async def note(shop: "Shop", order: "Order") -> "Order":
        return await shop.orders.set_note(order.order_id, text or None)

    order, _ = run_async(_with_order(context, order_id, note))
    _told(f"{order.order_id}: " + ("note kept." if text else "note removed."))


async def _with_order(
    context: typer.Context, sought: str, act: "Callable[[Shop, Order], Awaitable[T]]"
) -> "tuple[Order, T]":
    """Find an order, do something with it, and return it as it was with what came of it."""
    from holdfast.apps.reports.orders.finding import the_order

    async with open_shop(session_of(context)) as shop:
        order = await the_order(shop, sought)
        return order, await act(shop, order)


def _told(words: str) -> None:
    from holdfast.cli import console

    console.stdout().print(words)
