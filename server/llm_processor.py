"""The language models as the pipeline sees them: one answer, whoever of them gives it.

The shell around `server.llm.race`: it asks, waits and passes on. An answer that breaks off is finished by another
model, or by the same one, asked again.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal, Self

import structlog

from server.limits import Limits
from server.llm.breaker import Breaker
from server.llm.continuation import Passage, rest_of, said_of
from server.llm.interface import ChatRequest, Finished, LlmError, LlmEvent, Shortened, TakenOver
from server.llm.model import Model
from server.llm.openai_compatible import OpenAiCompatibleProvider
from server.llm.providers import models_of
from server.llm.race import REASONS, Ask, GiveUp, ModelHealth, Race, Wait
from server.observability import metrics
from server.settings.settings import Settings

log = structlog.get_logger(__name__)

_BREAKER_VALUES = {"closed": 0, "half_open": 1, "open": 2}


class LlmProcessor:
    """Streams answers of the first of `models` that gives one."""

    def __init__(
        self,
        models: Sequence[Model],
        *,
        max_tokens: int,
        max_answer_seconds: float = Limits.max_answer_seconds,
    ) -> None:
        """`max_tokens` is the limit of a request that sets none.

        An answer that is not over after `max_answer_seconds` ends there.
        """
        self._models = models
        self._health = [ModelHealth(model.name) for model in models]
        for origin, target in product((model.name for model in models), repeat=2):
            for reason in REASONS:
                metrics.llm_failovers.labels(origin, target, reason)
        for health in self._health:
            state = partial(_breaker_value, health.breaker)
            metrics.llm_breaker_state.labels(health.name).set_function(state)
        self._max_tokens = max_tokens
        self._max_answer_seconds = max_answer_seconds
        self._state: Literal["starting", "ok", "failing"] = "starting"

    @classmethod
    def from_settings(cls, settings: Settings, model_path_for: Callable[[str], Path]) -> Self:
        """The models that `settings.llm` names; `model_path_for` gives the folder of a model in the store."""
        models = models_of(settings, model_path_for)
        return cls(models, max_tokens=settings.llm_max_tokens, max_answer_seconds=settings.max_answer_seconds)

    @property
    def state(self) -> Literal["starting", "ok", "failing"]:
        """For /health: how the latest answer went."""
        return self._state

    def describe(self) -> str:
        """The same with the models' names, and the state of each circuit breaker that is not closed."""
        now = time.monotonic()
        states = ((health.name, health.breaker.state(now)) for health in self._health)
        names = (name if state == "closed" else f"{name} ({state})" for name, state in states)
        return f"{', '.join(names)}: {self._state}"

    async def warm_up(self) -> None:
        """Pay now what the first requests would pay. Raises the first model's `LlmError` if none of them is well."""
        outcomes = await asyncio.gather(*(model.warm_up() for model in self._models), return_exceptions=True)
        errors = [outcome for outcome in outcomes if outcome is not None]
        for error in errors:
            if len(errors) == len(self._models) or not isinstance(error, LlmError):
                self._state = "failing"
                raise error
        self._state = "ok"

    async def warm_up_again(self, every: float) -> None:
        """Until a model is well, each `every` seconds. What fails counts as an error: an alarm needs no caller."""
        while self._state != "ok":
            await asyncio.sleep(every)
            with contextlib.suppress(LlmError):
                await self.warm_up()

    def take_keys(self, settings: Settings) -> None:
        """From the next request on the models are asked with the keys of these settings, those that take one."""
        for name, model in zip(settings.llm, self._models, strict=True):
            if isinstance(model.provider, OpenAiCompatibleProvider):
                model.provider.use_key(settings.llm_keys[name])

    async def close(self) -> None:
        """Free everything the providers hold."""
        await asyncio.gather(*(model.provider.close() for model in self._models))

    async def stream(self, request: ChatRequest, wanted: asyncio.Event | None = None) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`; see `LlmProvider.stream`. A `TakenOver` comes before the rest of one that broke off.

        Until `wanted` is set (None: it is) nobody knows whether the answer is needed, and only one model is asked.
        """
        asking = _Asking(self._models, self._health, request, self._max_tokens, self._max_answer_seconds, wanted)
        try:
            async with contextlib.aclosing(asking.answer()) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        self._state = "ok"
                    yield event
        except LlmError:
            self._state = "failing"
            raise


def _breaker_value(breaker: Breaker) -> int:
    return _BREAKER_VALUES[breaker.state(time.monotonic())]


class _Attempt:
    """One model's answer under way, of which the first event is awaited beside others'."""

    def __init__(self, index: int, events: AsyncGenerator[LlmEvent, None]) -> None:
        self.index = index
        self.events = events
        self.beginning: list[LlmEvent] = []
        self.error: LlmError | None = None

    async def begin(self, wait: float) -> Self:
        """Wait `wait` seconds, then for the first of what the model writes, or for its failure."""
        await asyncio.sleep(wait)
        try:
            async for event in self.events:
                self.beginning.append(event)
                if not isinstance(event, Shortened):
                    break
        except LlmError as error:
            self.error = error
        return self

    async def answer(self) -> AsyncGenerator[LlmEvent, None]:
        """All events. Raises `LlmError`."""
        for event in self.beginning:
            yield event
        async for event in self.events:
            yield event


class _Asking:
    """One answer: all that is asked for it, of whichever model."""

    def __init__(
        self,
        models: Sequence[Model],
        health: Sequence[ModelHealth],
        request: ChatRequest,
        max_tokens: int,
        max_answer_seconds: float,
        wanted: asyncio.Event | None,
    ) -> None:
        self._models = models
        self._request = request
        self._max_tokens = max_tokens if request.max_output_tokens is None else request.max_output_tokens
        self._ends_at = asyncio.get_running_loop().time() + max_answer_seconds
        self._wanted = wanted
        self._race = Race(health, models[0].timeout_seconds, time.monotonic(), random.random)
        self._attempts: list[_Attempt] = []
        self._error: LlmError | None = None
        self._shortened = False

    async def answer(self) -> AsyncGenerator[LlmEvent, None]:
        """The answer of the first model that gives one, finished by others. Raises the last one's `LlmError`."""
        written = ""
        try:
            while attempt := await self._begin(said := said_of(written)):
                passage = Passage(said)
                if written:
                    yield TakenOver()
                try:
                    async with contextlib.aclosing(self._passed(attempt, passage)) as events:
                        async for event in events:
                            yield event
                except LlmError as error:
                    self._fail(attempt.index, error)
                    written += passage.text
                else:
                    self._race.succeeded(attempt.index)
                    return
        finally:
            for attempt in self._attempts:
                await attempt.events.aclose()
        assert self._error, "nobody gives up before a failure"
        raise self._error

    async def _passed(self, attempt: _Attempt, passage: Passage) -> AsyncGenerator[LlmEvent, None]:
        """What is passed on of an attempt; that the request was shortened is told once."""
        async with contextlib.aclosing(attempt.answer()) as events:
            async for event in events:
                if isinstance(event, Shortened):
                    if not self._shortened:
                        self._shortened = True
                        yield event
                    continue
                for passed in passage.push(event):
                    yield passed

    async def _begin(self, said: str) -> _Attempt | None:
        """Ask until one of the models begins to write; None: nobody is left to ask."""
        begun: _Attempt | None = None
        waiting: set[asyncio.Task[_Attempt]] = set()
        async with asyncio.TaskGroup() as tasks:
            wanted = tasks.create_task(self._until_wanted())
            while begun is None:
                timeout = None
                match self._race.next(time.monotonic()):
                    case Ask() as ask if wanted.done() or not self._attempts:
                        waiting.add(tasks.create_task(self._ask(ask, said).begin(ask.wait)))
                        continue
                    case Wait(float() as until):
                        timeout = max(0.0, until - time.monotonic())
                    case GiveUp():
                        break
                others = () if wanted.done() else (wanted,)
                done, _ = await asyncio.wait((*waiting, *others), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                attempts = [task.result() for task in done & waiting]
                waiting -= done
                for attempt in sorted(attempts, key=lambda attempt: attempt.index):
                    if attempt.error:
                        self._fail(attempt.index, attempt.error)
                    else:
                        begun = begun or attempt
            for task in (*waiting, wanted):
                task.cancel()
        if begun:
            self._note(begun.index, self._race.began(begun.index, time.monotonic()))
        return begun

    async def _until_wanted(self) -> None:
        if self._wanted:
            await self._wanted.wait()

    def _ask(self, ask: Ask, said: str) -> _Attempt:
        self._race.asked(ask, time.monotonic())
        request = rest_of(self._request, said)
        if request is self._request:
            request = replace(request, memo=request.memo.of(ask.index))
        events = self._models[ask.index].stream(request, self._max_tokens, ask.patience, self._ends_at)
        self._attempts.append(_Attempt(ask.index, events))
        return self._attempts[-1]

    def _fail(self, index: int, error: LlmError) -> None:
        self._error = error
        self._race.failed(index, error, time.monotonic())
        if self._race.is_hedge(index):
            metrics.llm_hedges.labels("failed").inc()

    def _note(self, winner: int, lost: list[int]) -> None:
        """Count who answers in whose place."""
        for index in (winner, *lost):
            if self._race.is_hedge(index):
                metrics.llm_hedges.labels("won" if index == winner else "lost").inc()
        if failover := self._race.failover(winner):
            metrics.llm_failovers.labels(failover.origin, failover.target, failover.reason).inc()
            log.warning("llm_failover", origin=failover.origin, target=failover.target, reason=failover.reason)
