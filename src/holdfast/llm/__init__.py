"""Model calls within rate limits and budgets, each booked. Independent of the engine.

`LLM` is the client; a `Provider` makes the calls; `Lanes` and `Ledger` are what it needs of a
store. Embeddings are left out until an application needs them.
"""

from holdfast.llm.budget import Ledger
from holdfast.llm.call import Urgency
from holdfast.llm.client import LLM, CallOptions
from holdfast.llm.config import ChargingRule, LLMConfig, ModelConfig, Price
from holdfast.llm.lanes import Lanes, LocalLanes
from holdfast.llm.providers.base import (
    Message,
    OutputSchema,
    Provider,
    ProviderReply,
    ProviderRequest,
    TokenUsage,
)
from holdfast.llm.streaming import TextStream

__all__ = [
    "LLM",
    "CallOptions",
    "ChargingRule",
    "LLMConfig",
    "Lanes",
    "Ledger",
    "LocalLanes",
    "Message",
    "ModelConfig",
    "OutputSchema",
    "Price",
    "Provider",
    "ProviderReply",
    "ProviderRequest",
    "TextStream",
    "TokenUsage",
    "Urgency",
]
