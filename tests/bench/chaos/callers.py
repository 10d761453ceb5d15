"""The callers of the chaos run: each asks again and again, and keeps what it lived through."""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from server.access.auth import mint_token
from server.audio import Samples
from server.client.caller import WIRE_RATE, Caller, Speech, call
from server.client.errors import CallFailed
from server.client.playout import AUDIBLE, is_audible
from tests.bench.chaos.fleet import SECRET

_TOKEN_SECONDS = 3600.0
_THINKING_SECONDS = (0.3, 1.0)
# A sentence of the three that an answer has makes a quarter more; a word that is begun again a tenth.
_MOST_OF_USUAL = 1.2


@dataclass
class Lived:
    """What happened on a call. `longest_silence` is in seconds; `lost` says how, each time that the call was.

    `lines` counts the answers of which a line stood for some; they are no answers less.
    """

    turns: int = 0
    lines: int = 0
    connections: int = 0
    moves: int = 0
    longest_silence: float = 0.0
    lost: list[str] = field(default_factory=list)


class Talker:
    """One caller; `lived` is theirs to be replaced."""

    def __init__(self, url: str, name: str, speech: Speech) -> None:
        self._url, self.name, self._speech = url, name, speech
        self._waiting_since: float | None = None
        """From when on the caller hears nothing, or will; None while they speak or think."""
        self.asked = 0
        """Questions of the present call."""
        self.cut: set[int] = set()
        """Those during which, or after whose answers, the connection was lost without a word."""
        self._moves = False
        self.lived = Lived()
        self.whole: list[tuple[int, float]] = []
        """Of each answer of which no line stood for any, its number and how many seconds of it were audible."""
        self._audible = 0.0

    async def talk(self) -> None:
        """Call, and talk until cancelled; a call that is lost is placed again."""
        while True:
            try:
                token = mint_token(SECRET, self.name, _TOKEN_SECONDS, time.time())
                session = {"instructions": self.name}
                async with call(self._url, token, session=session, on_event=self._hear, resumes=True) as caller:
                    await self._converse(caller)
            except CallFailed as error:
                self.lived.lost.append(f"{self.name}: {error}")
                self._waiting_since = None
                await asyncio.sleep(1.0)

    async def _converse(self, caller: Caller) -> None:
        self.asked = 0
        self.cut.clear()
        while True:
            self.asked += 1
            self._waiting_since, self._audible = None, 0.0
            speaking = asyncio.create_task(caller.say(self._speech))
            await asyncio.sleep(self._speech.last_audible)
            self._waiting_since = time.monotonic()
            turn = await speaking
            self._waiting_since = None
            self.lived.lines += turn.status == "failed"
            if turn.playout.first_audible_at is None:
                self.lived.lost.append(f"{self.name}: an answer without a sound: {turn.status} {turn.error}")
            if turn.status == "completed":
                self.whole.append((self.asked, self._audible))
            self.lived.turns += 1
            await asyncio.sleep(random.uniform(*_THINKING_SECONDS))

    def silence(self) -> float:
        """The longest time for which the caller heard nothing, up to now."""
        now = time.monotonic()
        return max(self.lived.longest_silence, now - (self._waiting_since or now))

    def _hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "session.created"}:
                self.lived.connections += 1
                if not self._moves:
                    self.cut.add(self.asked)
                self._moves = False
            case {"type": "x_session.move"}:
                self.lived.moves += 1
                self._moves = True
            case {"type": "response.output_audio.delta", "delta": delta} if self._waiting_since is not None:
                self._play(np.frombuffer(delta, "<i2"), self._waiting_since, time.monotonic())

    def _play(self, samples: Samples, silent_from: float, now: float) -> None:
        """Audio is played when it comes, or once all before it has been."""
        self._audible += np.count_nonzero(np.abs(samples.astype(np.int32)) >= AUDIBLE) / WIRE_RATE
        if now > silent_from and not is_audible(samples):
            return
        self.lived.longest_silence = max(self.lived.longest_silence, now - silent_from)
        self._waiting_since = max(now, silent_from) + len(samples) / WIRE_RATE


def said_twice(talkers: Sequence[Talker]) -> Iterator[str]:
    """Answers that were more to hear than others of the same words, by more than a word that was begun again."""
    usual: dict[int, list[float]] = {}
    for talker in talkers:
        for number, seconds in talker.whole:
            usual.setdefault(number, []).append(seconds)
    for talker in talkers:
        for number, seconds in talker.whole:
            if seconds > _MOST_OF_USUAL * (median := statistics.median(usual[number])):
                yield f"{talker.name}: of answer {number} were heard {seconds:.1f} s, and {median:.1f} s are usual"
