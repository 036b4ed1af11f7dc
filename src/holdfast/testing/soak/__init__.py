"""Soak: a shop with a fleet behind it, customers, kills all the while, and an audit of its books.

`python -m holdfast.testing.soak` runs it; `run_soak` does from a test.
"""

from holdfast.testing.soak import report
from holdfast.testing.soak.auditor import audit
from holdfast.testing.soak.books import ShopBooks
from holdfast.testing.soak.options import Options
from holdfast.testing.soak.run import Outcome, run_soak

__all__ = ["Options", "Outcome", "ShopBooks", "audit", "report", "run_soak"]
