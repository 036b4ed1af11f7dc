"""All routes of the shop."""

from __future__ import annotations

from fastapi import APIRouter

from holdfast.apps.reports.shop import checkout, console, orders, pages, pay_page


def shop_routers() -> tuple[APIRouter, ...]:
    """Return all routes of the shop, with whole paths; they need a `Shop` and its `Throttles`."""
    return (checkout.router, orders.router, pages.router, pay_page.router, console.router)
