"""What the simulator says: completions, chunks and errors in OpenAI's shapes."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.llm.providers.base import OutputSchema, ProviderRequest
from holdfast.llm.providers.scripted import write_sample
from holdfast.testing.provider.faults import Fault, FaultKind
from holdfast.testing.provider.limits import prompt_tokens

if TYPE_CHECKING:
    from holdfast.llm.providers.scripted import Writer

_CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True)
class Answer:
    """One completion to be sent."""

    number: int
    model: str
    text: str
    finish_reason: str
    refusal: str | None
    input_tokens: int

    @property
    def output_tokens(self) -> int:
        """Tokens of the text, by count of characters."""
        return token_count(self.text)

    def usage(self) -> dict[str, Any]:
        """Return the usage object."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    def completion(self) -> dict[str, Any]:
        """Return the whole completion."""
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        return {
            "id": f"chatcmpl-{self.number}",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": self.finish_reason,
                    "logprobs": None,
                }
            ],
            "usage": self.usage(),
        }

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        """Return one chunk of the stream."""
        return {
            "id": f"chatcmpl-{self.number}",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        }

    def usage_chunk(self) -> dict[str, Any]:
        """Return the last chunk, which carries the usage."""
        return {**self.chunk({}), "choices": [], "usage": self.usage()}


async def write_answer(
    number: int, body: dict[str, Any], writer: Writer | None, fault: Fault | None
) -> Answer:
    """Write the answer to a request, spoilt by the fault if that is about the text."""
    request = _as_request(number, body)
    written = (writer or write_sample)(request)
    text = await written if inspect.isawaitable(written) else written
    answer = Answer(number, request.model, text, "stop", None, prompt_tokens(body))
    if answer.output_tokens > request.max_output_tokens:
        answer.text = text[: request.max_output_tokens * _CHARACTERS_PER_TOKEN]
        answer.finish_reason = "length"
    match fault.kind if fault is not None else None:
        case FaultKind.TRUNCATED:
            answer.text, answer.finish_reason = text[: len(text) // 2], "length"
        case FaultKind.BROKEN_OUTPUT:
            answer.text = text[: len(text) // 2]
        case FaultKind.WRONG_SCHEMA:
            answer.text = json.dumps({"unexpected": "shape"})
        case FaultKind.REFUSAL:
            answer.text, answer.refusal = "", "I cannot help with that."
        case FaultKind.CONTENT_FILTER:
            answer.text, answer.finish_reason = "", "content_filter"
        case _:
            pass
    return answer


def error_answer(fault: Fault, body: dict[str, Any], key: str) -> tuple[int, dict[str, Any]] | None:
    """Return status and body of a fault that is an HTTP error, else None."""
    match fault.kind:
        case FaultKind.RATE_LIMIT:
            return 429, error_body("Rate limit reached.", fault.code or "rate_limit_exceeded")
        case FaultKind.QUOTA:
            return 429, error_body("You exceeded your quota.", fault.code or "insufficient_quota")
        case FaultKind.UNAUTHORIZED:
            return 401, error_body(f"Incorrect API key: {key}.", fault.code or "invalid_api_key")
        case FaultKind.SERVER_ERROR:
            return fault.status, error_body("The server had an error.", fault.code or "server_error")
        case FaultKind.BAD_REQUEST:
            quoted = json.dumps(body.get("messages", ""))
            return 400, error_body(f"Invalid request: {quoted}", fault.code or "invalid_value")
        case FaultKind.EMPTY:
            return 200, error_body("Upstream failed.", "upstream_error")
        case _:
            return None


def error_body(message: str, code: str) -> dict[str, Any]:
    """Return OpenAI's error object."""
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


def token_count(text: str) -> int:
    """Return the tokens of a text as this provider counts them."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def _as_request(number: int, body: dict[str, Any]) -> ProviderRequest:
    asked = (body.get("response_format") or {}).get("json_schema")
    return ProviderRequest(
        call_id=f"simulated-{number}",
        model=str(body.get("model", "")),
        messages=tuple(body.get("messages", ())),
        max_output_tokens=int(body.get("max_completion_tokens") or body.get("max_tokens") or 4096),
        temperature=body.get("temperature"),
        output_schema=None
        if asked is None
        else OutputSchema(name=asked["name"], schema=asked["schema"], strict=bool(asked.get("strict"))),
    )
