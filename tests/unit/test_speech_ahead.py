"""An answer's clauses are made one after the other, some seconds before they are heard, and never much sooner."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from server.speech_ahead import Playout, SpeechAhead

_RATE = 100  # samples a second: a chunk of 200 bytes lasts one


@dataclass
class _Voice:
    """Makes clauses of so many seconds each, and notes when each was begun for when."""

    tasks: asyncio.TaskGroup
    playout: Playout = field(default_factory=Playout)
    clauses: list[SpeechAhead] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)

    def say(self, seconds: int) -> SpeechAhead:
        async def speech(*, needed_at: float) -> AsyncGenerator[bytes, None]:
            self.begun.append(needed_at)
            for _ in range(seconds):
                yield bytes(2 * _RATE)

        before = self.clauses[-1] if self.clauses else None
        self.clauses.append(SpeechAhead(self.tasks, speech, _RATE, self.playout, before))
        return self.clauses[-1]


@asynccontextmanager
async def _voice() -> AsyncIterator[_Voice]:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        voice = _Voice(tasks)
        yield voice
        for clause in voice.clauses:
            clause.stop()


async def _settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.01)


def test_the_playout_ends_when_all_that_was_made_has_been_heard() -> None:
    playout = Playout()
    playout.made(3.0)
    assert playout.ends_at == 0.0, "nobody listens"
    playout.taken(1.0, now=100.0)
    assert playout.ends_at == 103.0
    playout.taken(1.0, now=100.5)  # while the first second is still heard
    assert playout.ends_at == 103.0
    playout.taken(1.0, now=105.0)  # which is late
    assert playout.ends_at == 106.0
    playout.made(2.0)
    playout.made(-2.0)  # nobody is going to hear it
    assert playout.ends_at == 106.0


async def test_the_next_clause_is_asked_for_while_one_is_heard_and_told_when_it_is_needed() -> None:
    async with _voice() as voice:
        first, second = voice.say(3), voice.say(1)
        await _settle()
        assert voice.begun == [0.0], "nobody listens yet"
        before = time.monotonic()
        await anext(first)
        after = time.monotonic()
        await _settle()
        assert len(voice.begun) == 2
        assert before + 3.0 <= voice.begun[1] <= after + 3.0
        assert second.seconds == 1.0


async def test_what_is_needed_in_more_than_a_few_seconds_is_not_begun() -> None:
    async with _voice() as voice:
        first, _, third = voice.say(4), voice.say(5), voice.say(1)
        await anext(first)
        await _settle()
        assert len(voice.begun) == 2
        assert third.seconds == 0.0


async def test_it_is_begun_when_that_time_has_come() -> None:
    async with _voice() as voice:
        first = voice.say(5)
        voice.say(1)
        voice.playout.taken(0.0, now=time.monotonic() + 0.05)
        assert await anext(first)
        await _until(lambda: len(voice.begun) == 2)


async def test_whoever_listens_does_not_wait_for_what_is_not_heard() -> None:
    async with _voice() as voice:
        first, _, third = voice.say(4), voice.say(4), voice.say(1)
        await anext(first)
        assert [len(pcm) async for pcm in third] == [2 * _RATE]


async def test_a_clause_that_nobody_wants_makes_way_for_the_next() -> None:
    async with _voice() as voice:
        endless, after = voice.say(1_000_000), voice.say(1)
        await anext(endless)
        await _settle()
        assert len(voice.begun) == 1
        endless.stop()
        assert [len(pcm) async for pcm in after] == [2 * _RATE]
        assert voice.playout.ends_at - time.monotonic() < 3.0, "what was made of it is never heard"


async def test_only_so_many_seconds_are_held() -> None:
    async with _voice() as voice:
        clause = voice.say(1_000_000)
        await _settle()
        assert clause.seconds == 6.0
        await anext(clause)
        await _settle()
        assert clause.seconds == 7.0
