"""The language model as the pipeline sees it: the provider that the settings name, a deadline, a retry, metrics."""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import structlog

from server.limits import Limits
from server.llm.bedrock import BedrockProvider
from server.llm.bounds import AnswerBounds, Bound, BoundPassed
from server.llm.converse import ConverseOptions
from server.llm.interface import (
    ChatRequest,
    Finished,
    LlmError,
    LlmEvent,
    LlmProvider,
    Shortened,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from server.llm.local import LocalProvider
from server.llm.openai_compatible import OpenAiCompatibleProvider
from server.llm.shortening import left_out, message_tokens
from server.observability import metrics
from server.settings.settings import Settings

log = structlog.get_logger(__name__)

LOCAL_MODEL = "smollm2-135m"  # its name in the catalogue
_LONGEST_SILENCE_SECONDS = 120.0  # between two events of a model that gives signs of life and no answer
_RETRY_SECONDS = (0.05, 0.25)  # a random wait in between, so that calls that failed together do not return together


class LlmProcessor:
    """Streams answers from `provider` with a deadline for each sign of life and one retry before the first event."""

    def __init__(
        self,
        provider: LlmProvider,
        *,
        timeout_seconds: float,
        max_tokens: int,
        max_answer_seconds: float = Limits.max_answer_seconds,
    ) -> None:
        """`timeout_seconds` is the longest wait for bytes, `max_tokens` the limit of a request that sets none.

        An answer that is not over after `max_answer_seconds` ends there.
        """
        self._provider = provider
        self._timeout = timeout_seconds
        self._max_tokens = max_tokens
        self._max_answer_seconds = max_answer_seconds
        self._state: Literal["starting", "ok", "failing"] = "starting"

    @classmethod
    def from_settings(cls, settings: Settings, model_path_for: Callable[[str], Path]) -> Self:
        """The provider that `settings.llm` names; `model_path_for` gives the folder of a model in the store."""
        return cls(
            _provider(settings, model_path_for),
            timeout_seconds=settings.llm_timeout_seconds,
            max_tokens=settings.llm_max_tokens,
            max_answer_seconds=settings.max_answer_seconds,
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

    def take_keys(self, settings: Settings) -> None:
        """From the next request on the model is asked with the key of these settings, if it is one that takes keys."""
        if isinstance(self._provider, OpenAiCompatibleProvider):
            self._provider.use_key(_key(settings))

    async def close(self) -> None:
        """Free everything the provider holds."""
        await self._provider.close()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`; see `LlmProvider.stream`."""
        max_tokens = self._max_tokens if request.max_output_tokens is None else request.max_output_tokens
        clock = asyncio.get_running_loop().time
        bounds = AnswerBounds(max_tokens, clock() + self._max_answer_seconds)
        deadline = _Deadline(self._timeout, bounds.ends_at)

        def receive(size: int) -> None:
            bounds.receive(size)
            if bounds.passed:
                deadline.end()

        request = replace(request, max_output_tokens=max_tokens, heartbeat=deadline.prolong, received=receive)
        calls: list[str] = []
        try:
            async with contextlib.aclosing(self._tried_again(request)) as events:
                while (event := await deadline.keep(anext(events, None))) is not None:
                    event = bounds.take(event)
                    if isinstance(event, Finished):
                        self._answered(event.usage)
                    if isinstance(event, ToolCallStarted):
                        calls.append(event.call_id)
                    # Not every model obeys, and not every service can be told.
                    if request.parallel_tool_calls is False and _belongs_to_another(event, calls[:1]):
                        continue
                    yield event
                    if isinstance(event, Finished):
                        return
                    if bounds.passed:
                        break  # which closes the connection
        except LlmError as error:
            bounds.wait(clock())
            if not bounds.passed:  # else it is how the deadline ends
                if isinstance(error, BoundPassed):
                    self._bounded(error.bound)
                self._failed(error)
                raise
        if bounds.passed:
            self._bounded(bounds.passed)
            yield Finished("length")

    async def _tried_again(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """The answer, asked for once more when it fails before its first event, shortened if it is too long.

        A timeout has used up the caller's time.
        """
        tried, shortened = False, False
        while True:
            started = False
            try:
                async with contextlib.aclosing(self._provider.stream(request)) as events:
                    async for event in events:
                        started = True
                        yield event
            except LlmError as error:
                if started:
                    raise
                if error.failure == "context_length_exceeded" and not shortened and (gone := _half(request)):
                    shortened = True
                    self._failed(error)
                    yield Shortened(gone)
                    kept = [message for index, message in enumerate(request.messages) if index not in gone]
                    request = replace(request, messages=kept)
                elif error.retryable and error.failure != "timeout" and not tried:
                    tried = True
                    self._failed(error)
                    await asyncio.sleep(random.uniform(*_RETRY_SECONDS))  # noqa: S311  # jitter is no secret
                else:
                    raise
            else:
                return

    def _answered(self, usage: Usage) -> None:
        self._state = "ok"
        metrics.llm_tokens.labels("input").inc(usage.input_tokens)
        metrics.llm_tokens.labels("cached").inc(usage.cached_tokens)
        metrics.llm_tokens.labels("output").inc(usage.output_tokens)

    def _bounded(self, bound: Bound) -> None:
        metrics.llm_bounded_answers.labels(bound).inc()
        log.warning("llm_answer_bounded", bound=bound)

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
        before, _, rest = name.rpartition("://")  # a user in the URL has an "@", too
        model, _, scheme = before.rpartition("@")
        return OpenAiCompatibleProvider(model, f"{scheme}://{rest}", _key(settings))
    folder = model_path_for(LOCAL_MODEL)
    return LocalProvider(next(folder.glob("*.gguf"), folder / "model.gguf"), settings.instructions)


def _key(settings: Settings) -> str | None:
    return settings.llm_api_key.get_secret_value() if settings.llm_api_key else None


class _Deadline:
    """The longest wait for an event; every sign of life prolongs it, within reason and until `at_last`."""

    def __init__(self, seconds: float, at_last: float) -> None:
        self._seconds = seconds
        self._at_last = at_last
        self._ends_at = 0.0
        self._running: asyncio.Timeout | None = None

    async def keep(self, event: Awaitable[LlmEvent | None]) -> LlmEvent | None:
        """Wait for `event`. Raises `LlmError`."""
        now = asyncio.get_running_loop().time()
        self._ends_at = min(now + max(self._seconds, _LONGEST_SILENCE_SECONDS), self._at_last)
        try:
            async with asyncio.timeout_at(min(now + self._seconds, self._ends_at)) as self._running:
                return await event
        except TimeoutError:
            raise LlmError("timeout", f"the language model sent nothing for {self._seconds:g} s") from None
        finally:
            self._running = None

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._running and not self._running.expired():
            self._running.reschedule(asyncio.get_running_loop().time())

    def prolong(self) -> None:
        """Something came: the model is at work."""
        if self._running and not self._running.expired():
            now = asyncio.get_running_loop().time()
            self._running.reschedule(min(now + self._seconds, self._ends_at))


def _half(request: ChatRequest) -> frozenset[int]:
    """The oldest messages that make up half of the conversation, as far as they may go."""
    if not request.may_be_shortened:
        return frozenset()
    return left_out(request.messages, sum(map(message_tokens, request.messages)) / 2)


def _belongs_to_another(event: LlmEvent, call_ids: list[str]) -> bool:
    return isinstance(event, ToolCallStarted | ToolCallDelta) and event.call_id not in call_ids
