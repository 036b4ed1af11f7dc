"""Settings become a model client."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.clock import Clock
    from holdfast.llm.client import LLM
    from holdfast.llm.providers.base import Provider
    from holdfast.llm.providers.scripted import Writer
    from holdfast.settings import Settings
    from holdfast.store.base import Store


@contextlib.asynccontextmanager
async def open_llm(
    settings: Settings,
    store: Store,
    clock: Clock,
    offline_writer: Writer | None,
    *,
    models: tuple[str, ...] = (),
) -> AsyncIterator[LLM]:
    """Give the model client that the settings describe, on the store's lanes and ledger.

    Args:
        settings: Name the endpoint, its default model and its limits.
        store: Keeps lanes and ledger.
        clock: For waits.
        offline_writer: Answers while no endpoint is set.
        models: Models beside the default one, each with a lane of its own.

    Raises:
        ConfigError: The settings name an endpoint that needs a key, and there is none.
    """
    # Imported here: a program that only asks for `--help` must not wait for price tables.
    from holdfast.llm.client import LLM
    from holdfast.llm.config import FREE, LLMConfig, ModelConfig
    from holdfast.llm.providers.scripted import Scripted

    if settings.uses_openai:
        provider: Provider = _openai_provider(settings, clock)
        model = ModelConfig(
            model=settings.model,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            timeout_seconds=settings.call_timeout_seconds,
        )
    else:
        provider = Scripted(offline_writer, clock=clock)
        model = ModelConfig(model="scripted", provider="scripted", price=FREE)
    more = {name: replace(model, model=name) if settings.uses_openai else model for name in models}
    config = LLMConfig(default_model=model.model, models={**more, model.model: model})
    llm = LLM(config, {model.provider: provider}, lanes=store, ledger=store, clock=clock)
    try:
        yield llm
    finally:
        await llm.close()


def _openai_provider(settings: Settings, clock: Clock) -> Provider:
    # Imported here: the SDK alone takes half a second.
    from holdfast.llm.providers.openai import OpenAIProvider

    key = settings.openai_api_key
    if key is None and settings.openai_base_url is None:
        raise ConfigError(
            "model calls are to go to OpenAI, but there is no key",
            hint="set OPENAI_API_KEY, or OPENAI_BASE_URL, or HOLDFAST_PROVIDER=scripted",
        )
    # Endpoints without keys still want the header.
    secret = key.get_secret_value() if key else "none"
    if settings.openai_base_url is None:
        return OpenAIProvider(api_key=secret, clock=clock)
    return OpenAIProvider(api_key=secret, base_url=settings.openai_base_url, clock=clock)
