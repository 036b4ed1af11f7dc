"""Webhooks out: the ends of jobs, told to others' servers by signed requests (Standard Webhooks).

A delivery is a job of the kind `holdfast.store.service.DELIVERY_KIND`; the store queues it, any worker
runs it. What sends is in `holdfast.webhooks.sending`, apart, for only workers need it.
"""

from holdfast.webhooks.addresses import check_url
from holdfast.webhooks.delivery import Courier, Delivered, delivery_input_of, register_deliveries
from holdfast.webhooks.replay import replay
from holdfast.webhooks.subscription import ROTATION_OVERLAP, make_webhook, rotated

__all__ = [
    "ROTATION_OVERLAP",
    "Courier",
    "Delivered",
    "check_url",
    "delivery_input_of",
    "make_webhook",
    "register_deliveries",
    "replay",
    "rotated",
]
