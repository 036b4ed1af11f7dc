"""Who answers model calls: is it set up, can it be reached, is its price known?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from holdfast.cli.finding import Finding

if TYPE_CHECKING:
    from holdfast.settings import Settings

_AREA = "model calls"
_TIMEOUT_SECONDS = 8.0
_OPENAI_URL = "https://api.openai.com/v1"


def described(settings: Settings) -> str:
    """Return who answers model calls, in a few words and without secrets."""
    if not settings.uses_openai:
        return "offline sample writer"
    return f"{settings.model} at {endpoint_host(settings)}"


def endpoint_host(settings: Settings) -> str:
    """Return the endpoint's host and port; never its user or password."""
    parts = urlsplit(settings.openai_base_url or _OPENAI_URL)
    try:
        port = parts.port
    except ValueError:
        port = None
    return f"{parts.hostname or 'unknown'}:{port}" if port else parts.hostname or "unknown host"


async def provider(settings: Settings, *, offline: bool) -> list[Finding]:
    """Return the findings on the provider that the settings choose."""
    if not settings.uses_openai:
        chosen = "HOLDFAST_PROVIDER=scripted" if settings.provider == "scripted" else "no key is set"
        return [
            Finding(
                _AREA,
                "provider",
                "ok",
                f"offline sample writer ({chosen}); reports are marked as samples",
            ),
        ]
    findings = [Finding(_AREA, "provider", "ok", described(settings)), _key(settings)]
    if findings[-1].verdict != "problem":
        if offline:
            findings.append(Finding(_AREA, "endpoint", "ok", "not tried (--offline)"))
        else:
            findings.append(await asyncio.to_thread(_reach, settings))
    findings.append(await asyncio.to_thread(_price, settings))
    return findings


def _key(settings: Settings) -> Finding:
    if settings.openai_api_key is not None:
        return Finding(_AREA, "key", "ok", "present")
    if settings.openai_base_url is not None:
        return Finding(_AREA, "key", "ok", "none; fine for an endpoint that asks for none")
    return Finding(
        _AREA,
        "key",
        "problem",
        "missing",
        "set OPENAI_API_KEY, or OPENAI_BASE_URL for another endpoint, or HOLDFAST_PROVIDER=scripted",
    )


def _reach(settings: Settings) -> Finding:
    """Ask the endpoint for its models: free of charge, and it tells whether the key is accepted."""
    host = endpoint_host(settings)
    url = (settings.openai_base_url or _OPENAI_URL).rstrip("/") + "/models"
    if urlsplit(url).scheme not in {"http", "https"}:
        return Finding(
            _AREA, "endpoint", "problem", f"{host}: not an http address", "correct OPENAI_BASE_URL"
        )
    key = settings.openai_api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS):  # noqa: S310 - scheme checked
            return Finding(
                _AREA, "endpoint", "ok", f"{host} answers" + (", key accepted" if key else "")
            )
    except HTTPError as error:
        return _refused(host, error.code)
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        return Finding(
            _AREA,
            "endpoint",
            "problem",
            f"{host} cannot be reached: {reason}",
            "check the network, proxy settings and OPENAI_BASE_URL",
        )


def _refused(host: str, status: int) -> Finding:
    if status in (401, 403):
        return Finding(
            _AREA, "endpoint", "problem", f"{host} refuses the key ({status})", "check OPENAI_API_KEY"
        )
    if status in (404, 405):
        # Not every compatible server lists its models; it is there, and that is what was asked.
        return Finding(_AREA, "endpoint", "ok", f"{host} answers (it lists no models)")
    return Finding(
        _AREA,
        "endpoint",
        "warning",
        f"{host} answers with status {status}",
        "look at the provider's status page",
    )


def _price(settings: Settings) -> Finding:
    from holdfast.clock import SystemClock
    from holdfast.llm.config import ModelConfig
    from holdfast.llm.pricing import PriceTable
    from holdfast.llm.providers.base import TokenUsage
    from holdfast.llm.providers.openai import OpenAIProvider

    endpoint = OpenAIProvider(api_key="none", base_url=settings.openai_base_url or _OPENAI_URL)
    million = TokenUsage(input_tokens=1_000_000, output_tokens=0)
    answers = TokenUsage(input_tokens=0, output_tokens=1_000_000)
    table, model = PriceTable(SystemClock()), ModelConfig(model=settings.model)
    asked, answered = table.cost(model, endpoint, million), table.cost(model, endpoint, answers)
    if asked is None or answered is None:
        return Finding(
            _AREA,
            "price",
            "warning",
            f"the price of {settings.model!r} is unknown",
            "calls are counted in tokens only; a budget in money would park every job",
        )
    return Finding(
        _AREA, "price", "ok", f"${asked:f} per million tokens in, ${answered:f} out (list price)"
    )
