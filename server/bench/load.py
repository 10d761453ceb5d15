"""A load of callers on one node: conversations at once, paced in real time, out of step with one another.

It collects what each caller lived through; what that means is `load_report`'s to say.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from server.bench.load_report import LoadResult, TurnFigures
from server.client.caller import Caller, Speech
from server.client.errors import CallFailed, CallRefused
from server.client.transcripts import word_errors, words

# Callers start this far apart in all, beside the length of what they say: about as long as a short answer.
_ANSWER_SECONDS = 3.0
_THINKING_SECONDS = (0.5, 1.5)
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Clip:
    """Something for callers to say; `text` is what is said in it, where that is known."""

    speech: Speech
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How many callers say how many clips each; no turn begins after `seconds`."""

    calls: int
    turns: int
    seconds: float


async def run_load(
    place_call: Callable[[], AbstractAsyncContextManager[Caller]],
    clips: Sequence[Clip],
    load: Load,
    on_turn: Callable[[], None] = lambda: None,
) -> LoadResult:
    """Place the calls and hold them to their end; a call that fails ends alone."""
    result = LoadResult()
    cycle = sum(clip.speech.seconds for clip in clips) / len(clips) + _ANSWER_SECONDS
    ends_at = time.monotonic() + load.seconds
    async with asyncio.TaskGroup() as tasks:
        for index in range(load.calls):
            callers = _Conversation(place_call, clips, index, load.turns, ends_at, result, on_turn)
            tasks.create_task(callers.hold(index * cycle / load.calls))
    return result


@dataclass(slots=True)
class _Conversation:
    """One caller's. The clips come in turn, beginning with another one for each caller."""

    place_call: Callable[[], AbstractAsyncContextManager[Caller]]
    clips: Sequence[Clip]
    index: int
    turns: int
    ends_at: float
    result: LoadResult
    on_turn: Callable[[], None]

    async def hold(self, delay: float) -> None:
        await asyncio.sleep(delay)
        started = time.monotonic()
        try:
            async with self.place_call() as caller:
                try:
                    await self._talk(caller)
                finally:
                    self.result.lag.extend(caller.lateness)
                    self.result.silence = caller.silence
        except CallRefused as error:
            self.result.refused += 1
            self.result.failures.append(str(error))
        except CallFailed as error:
            self.result.failures.append(str(error))
        self.result.call_seconds += time.monotonic() - started

    async def _talk(self, caller: Caller) -> None:
        thinking = random.Random(self.index)  # noqa: S311  # the same pauses each time, and no secret
        for number in range(self.turns):
            clip = self.clips[(self.index + number) % len(self.clips)]
            turn = await caller.say(clip.speech, _PATIENCE_SECONDS)
            self.result.turns.append(
                TurnFigures(
                    voice_to_voice=turn.voice_to_voice,
                    stages_ms=turn.stages_ms,
                    completed=turn.status == "completed",
                    answers=turn.answers,
                    margins=turn.playout.margins,
                    words=len(words(clip.text or "")),
                    word_errors=word_errors(clip.text, turn.heard) if clip.text else 0,
                )
            )
            self.on_turn()
            if time.monotonic() >= self.ends_at:
                return
            await asyncio.sleep(thinking.uniform(*_THINKING_SECONDS))
