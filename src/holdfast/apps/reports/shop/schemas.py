"""What goes over the wire about orders, beside `orders.state.OrderView`."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, EmailStr, Field

from holdfast.apps.reports.orders.models import OrderStatus
from holdfast.apps.reports.shop import examples
from holdfast.server.schemas import Name


class CheckoutRequest(BaseModel):
    """An order: what, for whom, and where to write."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.CHECKOUT]})

    product: Name = Field(description="`life_clarity`, `personal_blueprint`, … or `bundle`.")
    email: EmailStr = Field(description="Where the report is announced.")
    name: Name = Field(description="Whose report it is; printed on its cover, in any script.")
    born: Annotated[str, Field(max_length=40)] = Field(
        description="Local date and time of birth, `1990-03-14 07:25`, or the date alone."
    )
    place: Name = Field(
        description="Place of birth: `Lisbon`, `Paris, Texas`, or coordinates `38.7, -9.1`."
    )
    start: date | None = Field(None, description="First day of the report; today by default.")


class CheckoutAnswer(BaseModel):
    """An order that waits to be paid."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.CHECKED_OUT]})

    order_id: str
    order_token: str
    """Lets its holder see the order and fetch what it brings; whoever has it may, so keep it."""
    status: OrderStatus
    checkout_url: str
    """Where to send the customer now."""


class WebhookAnswer(BaseModel):
    """What a payment service is told."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"received": True}]})

    received: bool = True
    """It is stored, or tells nothing of a payment."""
