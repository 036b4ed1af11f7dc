"""Examples of what goes over the wire, for the description of the API."""

from __future__ import annotations

from typing import Any, Final

_ORDER_ID: Final = "ord_01JDZ8Q7V3T5N9W2X4Y6Z8A0BC"
_TOKEN: Final = "WyJvcmRfMDEiLDE3OTk5OTk5OTld.…"  # noqa: S105 - nobody's

CHECKOUT: Final[dict[str, Any]] = {
    "product": "personal_horoscope",
    "email": "ada@example.com",
    "name": "Ada Lovelace",
    "born": "1990-03-14 07:25",
    "place": "Lisbon",
    "start": "2026-12-01",
}

CHECKED_OUT: Final[dict[str, Any]] = {
    "order_id": _ORDER_ID,
    "order_token": _TOKEN,
    "status": "pending_payment",
    "checkout_url": "https://checkout.stripe.com/c/pay/cs_live_…",
}

ORDER: Final[dict[str, Any]] = {
    "order_id": _ORDER_ID,
    "product": "personal_horoscope",
    "title": "Personal Horoscope",
    "status": "generating",
    "payment": "paid",
    "amount_cents": 5999,
    "currency": "usd",
    "created_at": "2026-11-27T09:00:00Z",
    "paid_at": "2026-11-27T09:01:12Z",
    "progress": {"fraction": 0.45, "label": "Writing May 2026", "eta_seconds": 360.0},
    "parts": [
        {
            "product": "personal_horoscope",
            "title": "Personal Horoscope",
            "status": "generating",
            "pages": None,
            "size_bytes": None,
        }
    ],
}

ORDER_EVENT: Final = (
    'id: 5f1c0a9e\nevent: order\ndata: {"order_id":"ord_…","status":"generating","progress":{…},…}\n\n'
)

WEBHOOK: Final[dict[str, Any]] = {
    "id": "evt_1",
    "object": "event",
    "type": "checkout.session.completed",
    "data": {"object": {"object": "checkout.session", "id": "cs_1", "payment_status": "paid"}},
}
