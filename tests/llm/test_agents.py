"""Agents of the OpenAI Agents SDK inside jobs: every call a step, booked, and never paid twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from agents import Agent, ModelSettings, function_tool, handoff
from agents.tracing import get_trace_provider
from pydantic import BaseModel

from holdfast import JobContext
from holdfast.errors import InvalidResponseError, JobFailedError, RetryLaterError, StepUsageError
from holdfast.llm import LLM, LLMConfig, ModelConfig
from holdfast.llm.agents import AgentRun, run_agent
from holdfast.llm.config import Price
from holdfast.llm.providers.base import ProviderReply, ProviderRequest, TokenUsage, ToolCall
from holdfast.llm.providers.scripted import Scripted
from holdfast.model import Budget, JobStatus, RetryPolicy
from holdfast.testing.harness import Harness

PRICE = Price(input_per_million=Decimal(1), output_per_million=Decimal(4))


class Weather(BaseModel):
    city: str
    degrees: int


@dataclass
class Turns(Scripted):
    """A provider that gives answers in turn and remembers what it was asked."""

    answers: list[str | ToolCall] = field(default_factory=list)
    asked: list[ProviderRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    async def complete(self, request: ProviderRequest) -> ProviderReply:
        self.asked.append(request)
        answer = self.answers.pop(0)
        usage = TokenUsage(input_tokens=10, output_tokens=5)
        if isinstance(answer, ToolCall):
            return ProviderReply(text="", usage=usage, finish_reason="tool_calls", tool_calls=(answer,))
        return ProviderReply(text=answer, usage=usage, finish_reason="stop")


@pytest.fixture
def provider() -> Turns:
    return Turns()


@pytest.fixture
async def harness(tmp_path: Path, provider: Turns) -> AsyncIterator[Harness]:
    async with Harness(tmp_path) as harness:
        model = ModelConfig(model="m", provider="scripted", price=PRICE)
        llm = LLM(
            LLMConfig.single(model),
            {"scripted": provider},
            lanes=harness.store,
            ledger=harness.store,
        )
        harness.services.resources[LLM] = llm
        yield harness
        await llm.close()


def register(harness: Harness, agent: Agent, **options) -> None:
    async def ask(job: JobContext, asked: str) -> str:
        run = AgentRun(
            steps=job, llm=job.resource(LLM), key="ask", retry=RetryPolicy(attempts=3), **options
        )
        found = await run_agent(run, agent, asked)
        return found.model_dump_json() if isinstance(found, BaseModel) else found

    harness.job("ask", ask, retry=RetryPolicy(attempts=2))


async def keys_of(harness: Harness, job_id: str) -> list[str]:
    records = await harness.client.records(job_id)
    return sorted(step.key for step in records.checkpoints if step.finished)


def forecast(calls: list[str], *, failing: list[Exception] | None = None):
    @function_tool(failure_error_function=None)
    def degrees_in(city: str) -> int:
        """Return how warm it is in a city."""
        calls.append(city)
        if failing:
            raise failing.pop(0)
        return 21

    return degrees_in


ASKS_TOOL = ToolCall(call_id="call_1", name="degrees_in", arguments='{"city": "Lisbon"}')


async def test_answer_is_typed_and_booked_to_its_step(harness, provider):
    register(harness, Agent(name="weather", instructions="Be brief.", output_type=Weather))
    provider.answers = ['{"city": "Lisbon", "degrees": 21}']
    await harness.start_worker()

    job_id = await harness.submit("ask", "How warm is it?")
    job = await harness.end_of(job_id)

    assert harness.client.output_of(job) == '{"city":"Lisbon","degrees":21}'
    assert (job.usage.calls, job.usage.input_tokens, job.usage.output_tokens) == (1, 10, 5)
    [call] = (await harness.client.records(job_id)).calls
    assert (call.step_key, call.status) == ("ask/1", "settled")
    [request] = provider.asked
    assert [message["content"] for message in request.messages] == ["Be brief.", "How warm is it?"]
    assert request.output_schema is not None
    assert request.output_schema.strict


async def test_tool_calls_and_turns_are_steps(harness, provider):
    cities: list[str] = []
    agent = Agent(name="weather", tools=[forecast(cities)], model_settings=ModelSettings(max_tokens=77))
    register(harness, agent)
    provider.answers = [ASKS_TOOL, "It is warm."]
    await harness.start_worker()

    job_id = await harness.submit("ask", "How warm is it?")
    await harness.end_of(job_id)

    assert await keys_of(harness, job_id) == ["ask/1", "ask/1/degrees_in/call_1", "ask/2"]
    assert [tool.name for tool in provider.asked[0].tools] == ["degrees_in"]
    assert provider.asked[0].max_output_tokens == 77
    *_, asked, answered = provider.asked[1].messages
    assert json.loads(asked["tool_calls"][0]["function"]["arguments"]) == {"city": "Lisbon"}
    assert (answered["role"], answered["content"], answered["tool_call_id"]) == ("tool", "21", "call_1")


async def test_next_attempt_repeats_no_call_and_no_tool(harness, provider):
    """The second attempt walks over what is stored: no call, no tool is repeated."""
    cities: list[str] = []
    agent = Agent(name="weather", tools=[forecast(cities)])
    ended: list[int] = []

    async def ask(job: JobContext, asked: str) -> str:
        run = AgentRun(steps=job, llm=job.resource(LLM), key="ask", retry=RetryPolicy(attempts=1))
        found: str = await run_agent(run, agent, asked)
        ended.append(1)
        if len(ended) == 1:
            raise RetryLaterError("the machine is gone", retry_after=timedelta())
        return found

    harness.job("again", ask, retry=RetryPolicy(attempts=2))
    provider.answers = [ASKS_TOOL, "It is warm."]
    await harness.start_worker()

    assert await harness.run("again", "How warm is it?") == "It is warm."
    assert (len(provider.asked), cities, len(ended)) == (2, ["Lisbon"], 2)


async def test_failed_tool_is_tried_again_by_the_engine(harness, provider):
    cities: list[str] = []
    tool = forecast(cities, failing=[RetryLaterError("busy", retry_after=timedelta())])
    register(harness, Agent(name="weather", tools=[tool]))
    provider.answers = [ASKS_TOOL, "It is warm."]
    await harness.start_worker()

    assert await harness.run("ask", "How warm is it?") == "It is warm."
    assert cities == ["Lisbon", "Lisbon"]


async def test_agent_that_takes_over_has_steps_and_tools_of_its_own(harness, provider):
    cities: list[str] = []
    expert = Agent(name="expert", tools=[forecast(cities)])
    desk = Agent(name="desk", handoffs=[expert, handoff(Agent(name="other"))])
    register(harness, desk)
    over = ToolCall(call_id="call_0", name="transfer_to_expert", arguments="{}")
    provider.answers = [over, ASKS_TOOL, "It is warm."]
    await harness.start_worker()

    job_id = await harness.submit("ask", "How warm is it?")
    job = await harness.end_of(job_id)

    assert harness.client.output_of(job) == "It is warm."
    assert await keys_of(harness, job_id) == [
        "ask/1",
        "ask/expert/1",
        "ask/expert/1/degrees_in/call_1",
        "ask/expert/2",
    ]
    assert {tool.name for tool in provider.asked[0].tools} == {"transfer_to_expert", "transfer_to_other"}


async def test_agent_as_a_tool_calls_its_model_in_steps(harness, provider):
    expert = Agent(name="expert")
    tool = expert.as_tool(tool_name="ask_expert", tool_description="Asks the expert.")
    register(harness, Agent(name="desk", tools=[tool]))
    asks = ToolCall(call_id="call_0", name="ask_expert", arguments='{"input": "well?"}')
    provider.answers = [asks, "It is warm.", "The expert says it is warm."]
    await harness.start_worker()

    job_id = await harness.submit("ask", "How warm is it?")
    job = await harness.end_of(job_id)

    assert harness.client.output_of(job) == "The expert says it is warm."
    assert await keys_of(harness, job_id) == ["ask/1", "ask/2", "ask/expert/1"]
    assert job.usage.calls == 3


@pytest.mark.parametrize("answer", ["no JSON", '{"city": 1}'])
async def test_malformed_final_output_is_asked_for_again(harness, provider, answer):
    register(harness, Agent(name="weather", output_type=Weather))
    provider.answers = [answer, '{"city": "Lisbon", "degrees": 21}']
    await harness.start_worker()

    job_id = await harness.submit("ask", "How warm is it?")
    job = await harness.end_of(job_id)

    assert job.status is JobStatus.COMPLETED
    assert job.usage.calls == 2


async def test_final_output_that_fails_its_check_is_asked_for_again(harness, provider):
    def check(found: Weather) -> None:
        if found.degrees > 50:
            raise InvalidResponseError("nobody lives there")

    register(harness, Agent(name="weather", output_type=Weather), check=check)
    provider.answers = ['{"city": "Lisbon", "degrees": 210}', '{"city": "Lisbon", "degrees": 21}']
    await harness.start_worker()

    assert json.loads(await harness.run("ask", "How warm is it?"))["degrees"] == 21


async def test_budget_parks_the_job_and_raising_it_goes_on(harness, provider):
    register(harness, Agent(name="weather", tools=[forecast([])]))
    provider.answers = [ASKS_TOOL, "It is warm."]
    await harness.start_worker()

    job_id = await harness.submit("ask", "How warm is it?", budget=Budget(tokens=20))
    parked = await harness.until(job_id, JobStatus.SUSPENDED)
    before = len(provider.asked)
    await harness.client.set_budget(job_id, Budget(tokens=100_000))
    job = await harness.end_of(job_id)

    assert (parked.suspend_reason, before) == ("budget", 0)
    assert job.status is JobStatus.COMPLETED
    assert job.usage.calls == 2


async def test_agent_that_never_ends_fails_at_its_limit_of_turns(harness, provider):
    register(harness, Agent(name="weather", tools=[forecast([])]), turns_max=2)
    provider.answers = [
        ASKS_TOOL,
        ToolCall(call_id="call_2", name="degrees_in", arguments='{"city": "Porto"}'),
    ]
    await harness.start_worker()

    with pytest.raises(JobFailedError, match="MaxTurnsExceeded"):
        await harness.run("ask", "How warm is it?")


async def test_nothing_is_traced(harness, provider):
    seen: list[object] = []

    class Listener:
        def __getattr__(self, name: str):
            return lambda *found: seen.append(found)

    get_trace_provider().register_processor(Listener())  # type: ignore[arg-type]
    register(harness, Agent(name="weather"))
    provider.answers = ["It is warm."]
    await harness.start_worker()

    await harness.run("ask", "How warm is it?")

    assert seen == []


async def test_two_runs_of_one_agent_at_once_are_refused():
    """Their calls would be numbered as they come, and a resumed job could mix up their answers."""

    class Keeping:
        def __init__(self) -> None:
            self.kept: dict[str, object] = {}

        async def step(self, key, function, *arguments, **options):
            self.kept[key] = await function(*arguments)
            return self.kept[key]

    class Asking:
        async def respond(self, messages, **options):
            asked = [message["content"] for message in messages if message["role"] == "user"][-1]
            if asked == "go":
                calls = (
                    ToolCall(call_id=f"c{name}", name="sub", arguments=json.dumps({"input": name}))
                    for name in "AB"
                )
                return ProviderReply(text="", usage=None, finish_reason="stop", tool_calls=tuple(calls))
            await asyncio.sleep(0)
            return ProviderReply(text=f"answer for {asked}", usage=None, finish_reason="stop")

    sub = Agent(name="sub", instructions="x")
    tool = sub.as_tool(tool_name="sub", tool_description="x")
    root = Agent(name="root", instructions="x", tools=[tool])

    with pytest.raises(StepUsageError, match="'sub' runs twice at once"):
        await run_agent(AgentRun(steps=Keeping(), llm=Asking(), key="a"), root, "go")  # type: ignore[arg-type]
