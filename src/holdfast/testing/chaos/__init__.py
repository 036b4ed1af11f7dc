"""Chaos: a real fleet on real servers, everything that goes wrong in production, and an audit.

`python -m holdfast.testing.chaos` runs it; `run_chaos` does from a test.
"""

from holdfast.testing.chaos import report
from holdfast.testing.chaos.auditor import audit
from holdfast.testing.chaos.books import Books
from holdfast.testing.chaos.options import Options
from holdfast.testing.chaos.run import Outcome, plan_of, run_chaos
from holdfast.testing.chaos.schedule import Fault, FaultKind

__all__ = [
    "Books",
    "Fault",
    "FaultKind",
    "Options",
    "Outcome",
    "audit",
    "plan_of",
    "report",
    "run_chaos",
]
