"""A local stand-in for a model provider: OpenAI's API with limits, latency, faults and a journal.

In a test: `async with ProviderSimulator() as provider: …`. As a process of its own, which outlives
what a crash test kills: `python -m holdfast.testing.provider --port 8100 --journal calls.jsonl`.
"""

from holdfast.testing.provider.faults import Fault, FaultKind, FaultPlan
from holdfast.testing.provider.journal import CallRecord, Journal
from holdfast.testing.provider.server import ProviderBehaviour, ProviderSimulator

__all__ = [
    "CallRecord",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "Journal",
    "ProviderBehaviour",
    "ProviderSimulator",
]
