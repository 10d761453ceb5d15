"""Callers who do what the cases say, paced in real time, one call of each caller's for the cases of a kind.

It places calls and keeps time; what happened is `timeline`'s, what that means `verdicts`'.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from server.bench.turns.cases import LATER, TURNS, Case
from server.bench.turns.report import Played
from server.bench.turns.timeline import Timeline
from server.bench.turns.verdicts import Outcome, SoundVerdict, TurnVerdict, judge_sound, judge_turn
from server.client.caller import Caller, Speech
from server.client.errors import CallFailed

_PATIENCE_SECONDS = 10.0
_QUIET_SECONDS = 0.8  # between two cases; with less, the end of one could be taken for the next
_INTO_ANSWER_SECONDS = 1.0
_AFTER_SOUND_SECONDS = 1.5  # a decision that takes longer is heard as none

_QUESTION = (
    "Describe in at least twelve sentences, and without asking me anything, how a letter finds its way from the "
    "desk of its writer to the door of its reader: who collects it, where it is stamped and sorted, how the machines "
    "read the address, which trains, ships, planes and vans carry it, what happens when a street has changed its name "
    "or nobody is at home, and who brings it up the stairs in the rain at last."
)


class PlaceCall(Protocol):
    """A call to the node under test; `on_event` gets each of its events."""

    def __call__(self, *, on_event: Callable[[dict[str, Any]], None]) -> AbstractAsyncContextManager[Caller]:
        """Place it."""
        ...


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be done: the cases, shared out among so many `calls` at once; none begins after `seconds`.

    Before the kinds in `LATER` a caller says the `introduction`, which is not judged.
    """

    cases: Sequence[Case]
    introduction: Sequence[Case]
    calls: int
    seconds: float


async def play(place_call: PlaceCall, script: Script, on_case: Callable[[], None] = lambda: None) -> Played:
    """Have all of it done. A call that fails costs the case that it was at."""
    played = Played()
    ends_at = time.monotonic() + script.seconds
    async with asyncio.TaskGroup() as tasks:
        for index in range(script.calls):
            cases = script.cases[index :: script.calls]
            tasks.create_task(_caller(place_call, cases, script.introduction, ends_at, played, on_case))
    return played


async def _caller(
    place_call: PlaceCall,
    cases: Sequence[Case],
    introduction: Sequence[Case],
    ends_at: float,
    played: Played,
    on_case: Callable[[], None],
) -> None:
    for kind, of_a_kind in groupby(cases, key=lambda case: case.kind):
        waiting = list(of_a_kind)
        while waiting:
            line, begun_at = _Line(played), time.monotonic()
            try:
                async with place_call(on_event=line.hear) as caller:
                    try:
                        await asyncio.sleep(_QUIET_SECONDS)
                        for said in introduction if kind in LATER and time.monotonic() < ends_at else ():
                            await line.introduce(caller, said)
                        while waiting:
                            if time.monotonic() < ends_at:
                                await line.play(caller, waiting[0])
                            else:
                                played.not_played += 1
                            del waiting[0]
                            on_case()
                    finally:
                        played.lag.extend(caller.lateness)
            except CallFailed as error:
                played.failures.append(str(error))
                del waiting[:1]  # the case that failed, or one for which there was no call
                on_case()
            played.call_seconds += time.monotonic() - begun_at


class _Line:
    """A call that is open, and what is heard on it."""

    def __init__(self, played: Played) -> None:
        self._played = played
        self._timeline = Timeline()
        self._changed = asyncio.Event()

    def hear(self, event: dict[str, Any]) -> None:
        """Take the next event of the node's."""
        self._timeline.push(event, time.monotonic())
        self._changed.set()

    async def introduce(self, caller: Caller, case: Case) -> None:
        """Say it, and wait until the node is at rest again."""
        self._timeline = Timeline()
        await self._say(caller, case)
        await self._come_to_rest(caller)

    async def play(self, caller: Caller, case: Case) -> None:
        """Do what the case says, note what came of it, and wait until the node is at rest again."""
        self._timeline = Timeline()
        if case.kind in TURNS:
            self._played.turns.append(await self._say(caller, case))
        else:
            self._played.sounds.append(await self._sound_into_answer(caller, case))
        await self._come_to_rest(caller)

    async def _say(self, caller: Caller, case: Case) -> TurnVerdict:
        begun_at = await caller.begin(Speech(case.samples))
        end = begun_at + case.end
        await asyncio.sleep(end - time.monotonic())
        await self._until(lambda: self._timeline.first_heard(end) is not None, _PATIENCE_SECONDS)
        if case.spoken is not None:
            await asyncio.sleep(begun_at + case.seconds + _AFTER_SOUND_SECONDS - time.monotonic())
        return judge_turn(case, begun_at, self._timeline)

    async def _sound_into_answer(self, caller: Caller, case: Case) -> SoundVerdict:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": _QUESTION}]}
        await caller.send({"type": "conversation.item.create", "item": item})
        await caller.send({"type": "response.create"})
        if not await self._until(lambda: self._timeline.first_heard(0.0) is not None, _PATIENCE_SECONDS):
            return SoundVerdict(case.kind, case.name, Outcome.TOO_SHORT)
        await asyncio.sleep(_INTO_ANSWER_SECONDS)
        begun_at = await caller.begin(Speech(case.samples))
        await asyncio.sleep(begun_at + case.end + _AFTER_SOUND_SECONDS - time.monotonic())
        return judge_sound(case, begun_at, self._timeline, time.monotonic())

    async def _come_to_rest(self, caller: Caller) -> None:
        """Stop what is being answered, until nothing more follows. Raises `CallFailed` if there is no end to it."""
        try:
            async with asyncio.timeout(2 * _PATIENCE_SECONDS):
                while True:
                    await caller.send({"type": "output_audio_buffer.clear"})
                    await self._until(lambda: not self._timeline.answering, _PATIENCE_SECONDS)
                    # What it takes for speech, it will answer.
                    await self._until(lambda: not self._timeline.listening, _PATIENCE_SECONDS)
                    if not await self._until(lambda: self._timeline.answering, _QUIET_SECONDS):
                        return
        except TimeoutError:
            raise CallFailed(f"the node went on answering for {2 * _PATIENCE_SECONDS:g} s") from None

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until an event makes it hold, for so many seconds; gives whether it does."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
