"""The language model as the pipeline sees it: the provider that the settings name, a deadline, a retry, metrics."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import structlog

from server.llm.bedrock import BedrockProvider
from server.llm.converse import ConverseOptions
from server.llm.interface import ChatRequest, Finished, LlmError, LlmEvent, LlmProvider, Usage
from server.llm.local import LocalProvider
from server.llm.openai_compatible import OpenAiCompatibleProvider
from server.observability import metrics
from server.settings.settings import Settings

log = structlog.get_logger(__name__)

LOCAL_MODEL = "smollm2-135m"  # its name in the catalogue
_RETRY_SECONDS = (0.05, 0.25)  # a random wait in between, so that calls that failed together do not return together


class LlmProcessor:
    """Streams answers from `provider` with a deadline for each event and one retry before the first."""

    def __init__(self, provider: LlmProvider, *, timeout_seconds: float, max_tokens: int) -> None:
        """`timeout_seconds` is the longest wait for an event, `max_tokens` the limit of a request that sets none."""
        self._provider = provider
        self._timeout = timeout_seconds
        self._max_tokens = max_tokens
        self._state: Literal["starting", "ok", "failing"] = "starting"

    @classmethod
    def from_settings(cls, settings: Settings, model_path_for: Callable[[str], Path]) -> Self:
        """The provider that `settings.llm` names; `model_path_for` gives the folder of a model in the store."""
        return cls(
            _provider(settings, model_path_for),
            timeout_seconds=settings.llm_timeout_seconds,
            max_tokens=settings.llm_max_tokens,
        )

    @property
    def state(self) -> Literal["starting", "ok", "failing"]:
        """For /health: how the latest request went."""
        return self._state

    async def warm_up(self) -> None:
        """Pay now what the first request would pay. Raises `LlmError`."""
        try:
            await self._provider.warm_up()
        except LlmError as error:
            self._failed(error)
            raise
        self._state = "ok"

    async def close(self) -> None:
        """Free everything the provider holds."""
        await self._provider.close()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`; see `LlmProvider.stream`."""
        if request.max_output_tokens is None:
            request = replace(request, max_output_tokens=self._max_tokens)
        try:
            async with contextlib.aclosing(self._tried_twice(request)) as events:
                while (event := await self._in_time(events)) is not None:
                    if isinstance(event, Finished):
                        self._answered(event.usage)
                    yield event
        except LlmError as error:
            self._failed(error)
            raise

    async def _in_time(self, events: AsyncGenerator[LlmEvent, None]) -> LlmEvent | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await anext(events, None)
        except TimeoutError:
            raise LlmError("timeout", f"the language model sent nothing for {self._timeout:g} s") from None

    async def _tried_twice(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """The answer, asked for again when it fails before its first event. A timeout has used up the caller's time."""
        for is_last_try in (False, True):
            started = False
            try:
                async with contextlib.aclosing(self._provider.stream(request)) as events:
                    async for event in events:
                        started = True
                        yield event
            except LlmError as error:
                if is_last_try or started or not error.retryable or error.failure == "timeout":
                    raise
                self._failed(error)
                await asyncio.sleep(random.uniform(*_RETRY_SECONDS))  # noqa: S311  # jitter is no secret
            else:
                return

    def _answered(self, usage: Usage) -> None:
        self._state = "ok"
        metrics.llm_tokens.labels("input").inc(usage.input_tokens)
        metrics.llm_tokens.labels("cached").inc(usage.cached_tokens)
        metrics.llm_tokens.labels("output").inc(usage.output_tokens)

    def _failed(self, error: LlmError) -> None:
        self._state = "failing"
        metrics.llm_errors.labels(error.failure).inc()
        log.warning("llm_failed", failure=error.failure, error=str(error))


def _provider(settings: Settings, model_path_for: Callable[[str], Path]) -> LlmProvider:
    kind, _, name = settings.llm.partition(":")
    if kind == "bedrock":
        return BedrockProvider(
            ConverseOptions(
                model_id=name,
                latency=settings.bedrock_latency,
                guardrail_id=settings.bedrock_guardrail_id,
                guardrail_version=settings.bedrock_guardrail_version,
            ),
            max_requests=settings.max_sessions,
            timeout_seconds=settings.llm_timeout_seconds,
            keep_warm_seconds=settings.llm_keep_warm_seconds,
            prompt_cache=settings.bedrock_prompt_cache,
        )
    if kind == "openai":
        model, _, url = name.rpartition("@http")
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        return OpenAiCompatibleProvider(model, f"http{url}", key)
    folder = model_path_for(LOCAL_MODEL)
    return LocalProvider(next(folder.glob("*.gguf"), folder / "model.gguf"), settings.instructions)
