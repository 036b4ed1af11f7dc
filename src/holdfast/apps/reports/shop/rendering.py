"""How the customers' pages are made: templates, words, headers, and errors as pages."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

import jinja2
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from holdfast.apps.reports.orders.shop import Shop
from holdfast.apps.reports.shop.access import shop_of
from holdfast.apps.reports.wording import long_date
from holdfast.errors import OrderFileNotFoundError, OrderNotFoundError
from holdfast.server.html import HEADERS, failure_of, policy, prefix_of, templates_of
from holdfast.server.service import service_of
from holdfast.server.static_files import static_urls
from holdfast.wording import rough_duration, size

PACKAGE: Final = "holdfast.apps.reports.shop"

_LONG_WORDS: Final = {" s": " seconds", " min": " minutes", " h": " hours"}


@cache
def texts() -> dict[str, Any]:
    """Return the words of all pages."""
    return tomllib.loads(files(PACKAGE).joinpath("texts.toml").read_text(encoding="utf-8"))


@cache
def environment() -> jinja2.Environment:
    """Return what renders the pages."""
    made = templates_of(PACKAGE)
    made.filters.update(filled=_filled, day=_day, time_words=time_words, size=size, price=price)
    return made


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Return a page made from a template.

    Args:
        request: What is answered.
        template: Its file.
        status: Of the answer.
        headers: Instead of, or beside, those that all pages have.
        **values: For the template.
    """
    shop, base = shop_of(request), prefix_of(request)
    text = (
        environment()
        .get_template(template)
        .render(
            base=base,
            static=static_urls(PACKAGE, f"{base}/reports"),
            t=texts(),
            test_mode=shop.mode == "test",
            sender=shop.mailer.sender,
            **values,
        )
    )
    return HTMLResponse(text, status, headers=HEADERS | (headers or {}))


def paying_policy(shop: Shop) -> dict[str, str]:
    """Return the policy of a page whose form leads on to the payment service."""
    # Browsers hold `form-action` against what a form is redirected to, too, and a payment service has
    # addresses of its customers' own.
    elsewhere = "https:" if shop.mode == "live" else ""
    return {"Content-Security-Policy": policy(form_action=elsewhere)}


def own_address(request: Request, url: str) -> str:
    """Return an address of ours without the host, so that a browser stays where it is."""
    path = url.removeprefix(service_of(request).options.public_url.rstrip("/"))
    return f"{prefix_of(request)}{path}" if path.startswith("/") else url


class ShopPageRoute(APIRoute):
    """A route that tells its errors as pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - the last stop: nothing else would tell the person
                return _told(request, error)

        return handled


def _told(request: Request, error: Exception) -> Response:
    failure, said = failure_of(error), texts()["error"]
    message = said["busy"] if failure.status >= 500 else said["other"]
    if isinstance(error, OrderNotFoundError):
        message = said["order"]
    elif isinstance(error, OrderFileNotFoundError):
        message = said["file"]
    elif failure.status == 404:
        message = said["product"]
    elif failure.status == 429:
        message = texts()["wrong"]["too_many"]
    return render(request, "error.html", status=failure.status, failure=failure, message=message)


# words -------------------------------------------------------------------------------------------


def price(cents: int, currency: str = "usd") -> str:
    """Return '$19.99', '19.99 EUR'."""
    amount = f"{cents // 100:,}.{cents % 100:02}"
    return f"${amount}" if currency == "usd" else f"{amount} {currency.upper()}"


def time_words(seconds: float) -> str:
    """Return an estimate in whole words: '40 seconds', '6 minutes'."""
    words = rough_duration(seconds)
    for short, long in _LONG_WORDS.items():
        if words.endswith(short):
            number = words.removesuffix(short)
            return f"{number}{long.removesuffix('s') if number == '1' else long}"
    return words


def _filled(text: str, **values: Any) -> str:
    return text.format(**values)


def _day(at: datetime) -> str:
    return long_date(at.date())
