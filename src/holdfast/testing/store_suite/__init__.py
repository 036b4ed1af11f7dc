"""The conformance suite: every promise of `holdfast.store.base`, for any implementation.

Subclass `StoreSuite` in a test module whose fixture `lab` is a `StoreLab`.
"""

from __future__ import annotations

from holdfast.testing.store_suite.attempts import AttemptSuite
from holdfast.testing.store_suite.bounds import BoundsSuite
from holdfast.testing.store_suite.concurrency import ConcurrencySuite
from holdfast.testing.store_suite.controls import ControlSuite
from holdfast.testing.store_suite.families import FamilySuite
from holdfast.testing.store_suite.hints import HintSuite
from holdfast.testing.store_suite.jobs import JobSuite
from holdfast.testing.store_suite.leases import LeaseSuite
from holdfast.testing.store_suite.money import LaneSuite, MoneySuite
from holdfast.testing.store_suite.retention import RetentionSuite
from holdfast.testing.store_suite.support import StoreLab
from holdfast.testing.store_suite.webhooks import WebhookSuite
from holdfast.testing.store_suite.workers import WorkerSuite

__all__ = ["StoreLab", "StoreSuite"]


class StoreSuite(
    JobSuite,
    LeaseSuite,
    ControlSuite,
    WorkerSuite,
    AttemptSuite,
    BoundsSuite,
    MoneySuite,
    LaneSuite,
    FamilySuite,
    ConcurrencySuite,
    HintSuite,
    RetentionSuite,
    WebhookSuite,
):
    """Every promise of the store's seam."""
