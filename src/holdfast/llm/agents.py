"""Agents of the OpenAI Agents SDK whose model calls are durable, limited and booked like all others.

The SDK runs its loop in job code: instructions, turns, tools, handoffs. Every model call of it is
a step of the job, named by agent and turn, and goes through `LLM`, so lanes, budget and ledger
hold; every tool call is a step as well. An attempt that comes here again walks the loop over what
is stored and asks the model only for what is missing. The SDK's tracing is off, so that nothing
but the provider hears of a run.

Importing this module imports the SDK, which takes seconds: do it in a thread where an event loop runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agents import Agent, FunctionTool, Handoff, ModelProvider, RunConfig, Runner
from agents.exceptions import ModelBehaviorError
from agents.items import ModelResponse
from agents.models.chatcmpl_converter import Converter
from agents.models.interface import Model
from agents.usage import Usage
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
)
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from pydantic import BaseModel, ConfigDict

from holdfast.errors import InvalidInputError, InvalidResponseError, StepUsageError
from holdfast.llm.providers.base import OutputSchema, Tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from agents import AgentOutputSchemaBase, ModelSettings
    from agents import Tool as SdkTool
    from agents.items import TResponseInputItem
    from agents.run_config import CallModelData, ModelInputData
    from agents.tool_context import ToolContext

    from holdfast.llm.call import Urgency
    from holdfast.llm.client import LLM, CallOptions
    from holdfast.llm.providers.base import Message, ProviderReply
    from holdfast.model import RetryPolicy

T = TypeVar("T")

TURNS_MAX = 10

_agent_name: ContextVar[str] = ContextVar("holdfast_agent_name")
"""Whose model call comes next in this task; the SDK does not tell its models."""


class Steps(Protocol):
    """What runs durable steps: a `JobContext`."""

    async def step(self, key: str, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run `fn(*args)` once and keep its result under `key`."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """How an agent is run as part of a job."""

    steps: Steps
    """The job."""
    llm: LLM
    """Who calls the model."""
    key: str
    """Begins the names of all steps: `KEY/1` is the agent's first call, `KEY/OTHER/1` that of an
    agent it handed over to, `KEY/1/TOOL/ID` the tool calls that its first call asked for. Agents
    that run at the same time within one run need names of their own."""
    retry: RetryPolicy | None = None
    """Of the steps; None for the job kind's."""
    check: Callable[[Any], object] | None = None
    """Looks at the final output before it is stored; `InvalidResponseError` asks for another try."""
    turns_max: int = TURNS_MAX
    """Calls of one agent after which the run fails."""
    urgency: Urgency = "normal"
    """How soon the answers are needed, against other calls to the same lane."""


class AgentReply(BaseModel):
    """What is stored of one model call."""

    model_config = ConfigDict(frozen=True)

    text: str = ""
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    """Id, name and arguments of each."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


async def run_agent(run: AgentRun, agent: Agent[Any], asked: str) -> Any:
    """Run an agent to its final output, typed as the agent's `output_type` says.

    Of an agent's model settings `max_tokens`, `temperature` and `tool_choice` count; its model is
    a key of the client's configuration, None for the default.

    Raises:
        StepFailedError: A call failed for good.
        StepUsageError: Two agents of one name ran at the same time.
        MaxTurnsExceeded: The agent went on asking for tools.
    """
    models = _Models(run, root=agent.name)
    try:
        result = await Runner.run(
            _Durable(run, models).agent(agent),
            asked,
            max_turns=run.turns_max,
            run_config=RunConfig(
                model_provider=models, tracing_disabled=True, call_model_input_filter=_remember_agent
            ),
        )
    finally:
        if models.refused is not None:
            # The SDK tells it to the model as a tool's answer, and goes on.
            raise models.refused
    return result.final_output


def _remember_agent(data: CallModelData[Any]) -> ModelInputData:
    _agent_name.set(data.agent.name)
    return data.model_data


class _Models(ModelProvider):
    """The models of one run: any name, one count of turns."""

    def __init__(self, run: AgentRun, *, root: str) -> None:
        self.run = run
        self._root = root
        self._turns: Counter[str] = Counter()
        self._calling: set[str] = set()
        self.refused: StepUsageError | None = None
        """Why the run must not be believed."""

    def get_model(self, model_name: str | None) -> Model:
        return _StepModel(self, model_name)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold an agent's name while its call is under way.

        Raises:
            StepUsageError: Another agent of the same name makes a call: numbered in the order in which
                they come, their stored answers could be taken for each other's.
        """
        name = _agent_name.get()
        if name in self._calling:
            self.refused = StepUsageError(
                f"agent {name!r} runs twice at once within run {self.run.key!r}",
                hint="set parallel_tool_calls=False, or give each of them a name of its own",
            )
        if self.refused is not None:
            raise self.refused
        self._calling.add(name)
        try:
            yield
        finally:
            self._calling.discard(name)

    def next_key(self) -> str:
        """Return the step key of the model call that is about to be made."""
        name = _agent_name.get()
        self._turns[name] += 1
        return self.key_of(name)

    def key_of(self, agent: str) -> str:
        """Return the key of an agent's latest model call; what it asked for belongs there."""
        place = self.run.key if agent == self._root else f"{self.run.key}/{agent}"
        return f"{place}/{self._turns[agent]}"


class _StepModel(Model):
    """A model of the SDK whose every answer is a step of the job."""

    def __init__(self, models: _Models, name: str | None) -> None:
        self._models = models
        self._name = name

    async def get_response(self, *_: Any, **asked: Any) -> ModelResponse:
        # The SDK names every argument; there are ten of them.
        settings: ModelSettings = asked["model_settings"]
        output: AgentOutputSchemaBase | None = asked["output_schema"]
        run, messages = self._models.run, _messages(asked["input"])
        tools = [*map(_tool, asked["tools"]), *map(_handoff, asked["handoffs"])]
        options: CallOptions = {
            "system": asked["system_instructions"],
            "model": self._name,
            "max_output_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "urgency": run.urgency,
        }

        async def call() -> AgentReply:
            reply = await run.llm.respond(
                messages,
                schema=_schema(output),
                tools=tools,
                tool_choice=settings.tool_choice if isinstance(settings.tool_choice, str) else None,
                **options,
            )
            if not reply.tool_calls:
                _check(reply.text, output, run.check)
            return _stored(reply)

        with self._models.alone():
            key = self._models.next_key()
            return _response(await run.steps.step(key, call, returns=AgentReply, retry=run.retry))

    def stream_response(self, *asked: object, **state: object) -> AsyncIterator[Any]:
        raise NotImplementedError(
            "a durable agent answers whole: use run_agent, not Runner.run_streamed"
        )


class _Durable:
    """Makes the tools of agents durable, those of agents they hand over to included."""

    def __init__(self, run: AgentRun, models: _Models) -> None:
        self._run = run
        self._models = models
        self._known: dict[int, Agent[Any]] = {}

    def agent(self, agent: Agent[Any]) -> Agent[Any]:
        """Return the agent with durable tools."""
        if id(agent) not in self._known:
            copy = agent.clone(tools=[self._tool(tool, agent.name) for tool in agent.tools])
            # Known before its handoffs are looked at: agents may hand over in circles.
            self._known[id(agent)] = copy
            copy.handoffs = [
                self.agent(other) if isinstance(other, Agent) else other for other in agent.handoffs
            ]
        return self._known[id(agent)]

    def _tool(self, tool: SdkTool, agent: str) -> SdkTool:
        # The calls of an agent that runs as a tool are steps themselves, and steps do not nest.
        if not isinstance(tool, FunctionTool) or getattr(tool, "_is_agent_tool", False):
            return tool
        invoke = tool.on_invoke_tool

        async def as_step(context: ToolContext[Any], arguments: str) -> Any:
            key = f"{self._models.key_of(agent)}/{tool.name}/{context.tool_call_id}"
            return await self._run.steps.step(key, invoke, context, arguments, retry=self._run.retry)

        return dataclasses.replace(tool, on_invoke_tool=as_step)


def _check(
    text: str, output_schema: AgentOutputSchemaBase | None, check: Callable[[Any], object] | None
) -> None:
    value: Any = text
    if output_schema is not None and not output_schema.is_plain_text():
        try:
            value = output_schema.validate_json(text)
        except ModelBehaviorError:
            value = None
    if value is None:
        # Raised out here so that the text cannot come along as the context of the error.
        raise InvalidResponseError("the agent's final output does not fit its output type")
    if check is not None:
        check(value)


def _stored(reply: ProviderReply) -> AgentReply:
    usage = reply.usage
    return AgentReply(
        text=reply.text,
        tool_calls=tuple((call.call_id, call.name, call.arguments) for call in reply.tool_calls),
        input_tokens=usage.input_tokens if usage else 0,
        cached_tokens=usage.cached_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
    )


def _response(reply: AgentReply) -> ModelResponse:
    output: list[ResponseOutputItem] = []
    if reply.text or not reply.tool_calls:
        text = ResponseOutputText(type="output_text", text=reply.text, annotations=[])
        output.append(
            ResponseOutputMessage(
                id="message", type="message", role="assistant", status="completed", content=[text]
            )
        )
    output += [
        ResponseFunctionToolCall(type="function_call", call_id=call_id, name=name, arguments=arguments)
        for call_id, name, arguments in reply.tool_calls
    ]
    usage = Usage(
        requests=1,
        input_tokens=reply.input_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=reply.cached_tokens, cache_write_tokens=0),
        output_tokens=reply.output_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        total_tokens=reply.input_tokens + reply.output_tokens,
    )
    return ModelResponse(output=output, usage=usage, response_id=None)


def _messages(asked: str | Iterable[TResponseInputItem]) -> list[Message]:
    return [_message(dict(each)) for each in Converter.items_to_messages(asked)]


def _message(found: dict[str, Any]) -> Message:
    message: Message = {"role": found["role"], "content": _text(found.get("content"))}
    if found.get("tool_calls"):
        message["tool_calls"] = [dict(call) for call in found["tool_calls"]]
    if "tool_call_id" in found:
        message["tool_call_id"] = found["tool_call_id"]
    return message


def _text(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts: list[Any] = list(content) if isinstance(content, (list, tuple)) else [content]
    if any(not isinstance(part, dict) or "text" not in part for part in parts):
        raise InvalidInputError(
            "an agent was asked with something that is not text", hint="give durable agents text only"
        )
    return "".join(part["text"] for part in parts)


def _schema(output_schema: AgentOutputSchemaBase | None) -> OutputSchema | None:
    if output_schema is None or output_schema.is_plain_text():
        return None
    return OutputSchema(
        name="final_output",
        schema=output_schema.json_schema(),
        strict=output_schema.is_strict_json_schema(),
    )


def _tool(tool: SdkTool) -> Tool:
    if not isinstance(tool, FunctionTool):
        raise InvalidInputError(
            f"an agent has the tool {tool.name!r}, which runs at OpenAI",
            hint="give durable agents function tools",
        )
    return Tool(
        name=tool.name,
        description=tool.description,
        parameters=tool.params_json_schema,
        strict=tool.strict_json_schema,
    )


def _handoff(handoff: Handoff[Any, Any]) -> Tool:
    return Tool(
        name=handoff.tool_name,
        description=handoff.tool_description,
        parameters=handoff.input_json_schema,
        strict=handoff.strict_json_schema,
    )
