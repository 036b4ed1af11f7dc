"""What tests of the client share: a simulated provider, a ledger and lanes that remember."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from holdfast.clock import SystemClock
from holdfast.llm import LLM, LLMConfig, LocalLanes, ModelConfig
from holdfast.llm.providers.openai import OpenAIProvider
from holdfast.model import Lease
from holdfast.scope import Booking, StepScope, enter_step, leave_step
from holdfast.store.base import CallIntent, CallOutcome, LaneAdjustment, LaneState
from holdfast.testing.provider import ProviderSimulator

SECRET_KEY = "sk-verysecretkey1234"
SECRET_PROMPT = "my private birthday is the ides of march"


class RecordingLedger:
    """A ledger in memory; `refuse_reserve` and `refuse_settle` are raised when set."""

    def __init__(self) -> None:
        self.intents: list[CallIntent] = []
        self.outcomes: dict[str, CallOutcome] = {}
        self.refuse_reserve: BaseException | None = None
        self.refuse_settle: list[BaseException] = []
        self.reserving: asyncio.Event | None = None
        self.settling: asyncio.Event | None = None

    async def reserve_call(self, lease: Lease, intent: CallIntent) -> None:
        if self.refuse_reserve is not None:
            raise self.refuse_reserve
        self.intents.append(intent)
        if self.reserving is not None:
            await self.reserving.wait()

    async def settle_call(self, lease: Lease, call_id: str, outcome: CallOutcome) -> None:
        if self.settling is not None:
            await self.settling.wait()
        if self.refuse_settle:
            raise self.refuse_settle.pop(0)
        self.outcomes[call_id] = outcome

    @property
    def only(self) -> CallOutcome:
        (outcome,) = self.outcomes.values()
        return outcome


class RecordingLanes(LocalLanes):
    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.adjustments: list[LaneAdjustment] = []

    async def adjust_lane(self, adjustment: LaneAdjustment) -> LaneState:
        self.adjustments.append(adjustment)
        return await super().adjust_lane(adjustment)


@pytest.fixture
def ledger() -> RecordingLedger:
    return RecordingLedger()


@pytest.fixture
def lanes() -> RecordingLanes:
    return RecordingLanes(SystemClock())


@pytest.fixture
def deltas() -> list[str]:
    return []


@pytest.fixture
def owed() -> dict[str, Booking]:
    """Bookings left to the attempt, by call."""
    return {}


@pytest.fixture
def told() -> list[tuple[str, dict[str, object]]]:
    """Events that calls of the step have emitted."""
    return []


@pytest.fixture
def in_step(
    deltas: list[str], owed: dict[str, Booking], told: list[tuple[str, dict[str, object]]]
) -> Iterator[StepScope]:
    scope = StepScope(
        lease=Lease(job_id="job_1", epoch=1, worker_id="worker_1", row=1),
        kind="report",
        step_key="daily",
        step_attempt=1,
        priority=0,
        tenant=None,
        emit=lambda event_type, fields: told.append((event_type, fields)),
        emit_delta=deltas.append,
        owe=owed.__setitem__,
    )
    token = enter_step(scope)
    yield scope
    leave_step(token)


@pytest.fixture
async def provider() -> AsyncIterator[ProviderSimulator]:
    async with ProviderSimulator() as simulator:
        yield simulator


@pytest.fixture
async def make_llm(
    provider: ProviderSimulator, ledger: RecordingLedger, lanes: RecordingLanes
) -> AsyncIterator[Callable[..., LLM]]:
    made: list[LLM] = []

    def make(**options) -> LLM:
        model = ModelConfig(**{"model": "gpt-4o-mini", "price_provider": "openai", **options})
        endpoint = OpenAIProvider(api_key=SECRET_KEY, base_url=provider.base_url)
        llm = LLM(LLMConfig.single(model), {"openai": endpoint}, lanes=lanes, ledger=ledger)
        made.append(llm)
        return llm

    yield make
    for llm in made:
        await llm.close()


@pytest.fixture
def llm(make_llm: Callable[..., LLM], in_step: StepScope) -> LLM:
    """A client of the simulated provider, in a step of job_1."""
    return make_llm()
