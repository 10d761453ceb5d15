"""One language model as all calls ask it: a provider, a deadline for each sign of life, bounds, and what is counted.

It asks once. Whether the same model is asked again, or another, is `server.llm.race`'s to say.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import replace

import structlog

from server.llm.bounds import AnswerBounds, Bound, BoundPassed
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
from server.llm.shortening import left_out, message_tokens
from server.observability import metrics

log = structlog.get_logger(__name__)

_LONGEST_SILENCE_SECONDS = 120.0  # between two events of a model that gives signs of life and no answer


class Model:
    """The model behind `provider`; `name` may be shown."""

    def __init__(self, name: str, provider: LlmProvider, timeout_seconds: float) -> None:
        """`timeout_seconds` is the longest wait for bytes."""
        self.name = name
        self.provider = provider
        self.timeout_seconds = timeout_seconds

    async def warm_up(self) -> None:
        """Pay now what the first request would pay. Raises `LlmError`."""
        try:
            await self.provider.warm_up()
        except LlmError as error:
            self._failed(error)
            raise

    async def stream(
        self, request: ChatRequest, max_tokens: int, patience: float, ends_at: float
    ) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`, shortened if it is too long for the model; see `LlmProvider.stream`.

        The answer may have `max_tokens`, its first sign of life is waited for `patience` seconds, and at `ends_at`, by
        the event loop's clock, it is over.
        """
        clock = asyncio.get_running_loop().time
        bounds = AnswerBounds(max_tokens, ends_at)
        deadline = _Deadline(self.timeout_seconds, ends_at, patience)

        def receive(size: int) -> None:
            bounds.receive(size)
            if bounds.passed:
                deadline.end()

        request = replace(request, max_output_tokens=max_tokens, heartbeat=deadline.prolong, received=receive)
        calls: list[str] = []
        try:
            async with contextlib.aclosing(self._shortened_if_too_long(request)) as events:
                while (event := await deadline.keep(anext(events, None))) is not None:
                    event = bounds.take(event)
                    if isinstance(event, Finished):
                        _count(event.usage)
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

    async def _shortened_if_too_long(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        gone: frozenset[int] = frozenset()
        try:
            async with contextlib.aclosing(self.provider.stream(request)) as events:
                async for event in events:
                    yield event
        except LlmError as error:
            if error.failure != "context_length_exceeded" or not (gone := _half(request)):
                raise
            self._failed(error)
        if not gone:
            return
        yield Shortened(gone)
        kept = [message for index, message in enumerate(request.messages) if index not in gone]
        async with contextlib.aclosing(self.provider.stream(replace(request, messages=kept))) as events:
            async for event in events:
                yield event

    def _bounded(self, bound: Bound) -> None:
        metrics.llm_bounded_answers.labels(bound).inc()
        log.warning("llm_answer_bounded", bound=bound)

    def _failed(self, error: LlmError) -> None:
        metrics.llm_errors.labels(error.failure).inc()
        log.warning("llm_failed", model=self.name, failure=error.failure, error=str(error))


def _count(usage: Usage) -> None:
    metrics.llm_tokens.labels("input").inc(usage.input_tokens)
    metrics.llm_tokens.labels("cached").inc(usage.cached_tokens)
    metrics.llm_tokens.labels("output").inc(usage.output_tokens)


class _Deadline:
    """The longest wait for an event, `first` seconds for the first of all.

    Every sign of life prolongs it, within reason and until `at_last`.
    """

    def __init__(self, seconds: float, at_last: float, first: float) -> None:
        self._seconds = seconds
        self._next = first
        self._at_last = at_last
        self._ends_at = 0.0
        self._running: asyncio.Timeout | None = None

    async def keep(self, event: Awaitable[LlmEvent | None]) -> LlmEvent | None:
        """Wait for `event`. Raises `LlmError`."""
        now = asyncio.get_running_loop().time()
        seconds, self._next = self._next, self._seconds
        self._ends_at = min(now + max(self._seconds, _LONGEST_SILENCE_SECONDS), self._at_last)
        try:
            async with asyncio.timeout_at(min(now + seconds, self._ends_at)) as self._running:
                return await event
        except TimeoutError:
            raise LlmError("timeout", f"the language model sent nothing for {seconds:.3g} s") from None
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
