"""What a caller got to hear and was told, with the times of it.

Pure. It is fed with the node's events, in the words of the public protocol, and with monotonic seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from server.client.caller import WIRE_RATE
from server.client.playout import is_audible

# A shorter one passes for a pause of the speaker's.
_GAP_SECONDS = 0.3


class Chunk(NamedTuple):
    """A piece of an answer: when it came, how many seconds it lasts, and whether it can be heard."""

    at: float
    seconds: float
    audible: bool


@dataclass(slots=True)
class Answer:
    """A response of the node's. `done_at` is None while it is being given."""

    created_at: float
    done_at: float | None = None
    cancelled: bool = False
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def plays_until(self) -> float:
        """When the last of it that has come will have been played."""
        return max((ends_at for _, ends_at in self._played()), default=self.created_at)

    def fell_silent_at(self, now: float) -> float | None:
        """When it first stopped for longer than a speaker does, though there was more to come."""
        reached: float | None = None
        for begins_at, ends_at in self._played():
            if reached is not None and begins_at - reached > _GAP_SECONDS:
                return reached
            reached = ends_at
        is_late = self.done_at is None and reached is not None and now - reached > _GAP_SECONDS
        return reached if is_late else None

    def _played(self) -> Iterator[tuple[float, float]]:
        """From when to when each chunk is played, one after the other, each as it comes."""
        reached = 0.0
        for chunk in self.chunks:
            begins_at = max(reached, chunk.at)
            reached = begins_at + chunk.seconds
            yield begins_at, reached


@dataclass(slots=True)
class Timeline:
    """Everything since it was made. Lists are of times, in order; `answers` are by their ids."""

    speech_started: list[float] = field(default_factory=list)
    speech_stopped: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def push(self, event: Mapping[str, Any], now: float) -> None:
        """Take the next event. What belongs to an answer from before this timeline is passed over."""
        match event["type"]:
            case "input_audio_buffer.speech_started":
                self.speech_started.append(now)
            case "input_audio_buffer.speech_stopped":
                self.speech_stopped.append(now)
            case "input_audio_buffer.committed":
                self.committed.append(now)
            case "response.created":
                self.answers[event["response"]["id"]] = Answer(now)
            case "response.output_audio.delta" if answer := self.answers.get(event["response_id"]):
                samples = np.frombuffer(event["delta"], "<i2")
                answer.chunks.append(Chunk(now, len(samples) / WIRE_RATE, is_audible(samples)))
            case "response.done" if answer := self.answers.get(event["response"]["id"]):
                answer.done_at = now
                answer.cancelled = event["response"]["status"] == "cancelled"

    @property
    def answering(self) -> bool:
        """Whether an answer is being given."""
        return any(answer.done_at is None for answer in self.answers.values())

    @property
    def listening(self) -> bool:
        """Whether the node takes the caller to be speaking."""
        return len(self.speech_started) > len(self.speech_stopped)

    def first_heard(self, since: float) -> float | None:
        """When the first audible piece of any answer came, from `since` on."""
        heard = (chunk.at for answer in self.answers.values() for chunk in answer.chunks if chunk.audible)
        return min((at for at in heard if at >= since), default=None)
