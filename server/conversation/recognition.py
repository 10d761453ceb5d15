"""Utterances on their way to words, from the first request to the item that holds them.

Pure. An utterance is asked for as often as it pays; it is committed (it becomes an item), then heard (its words are
known).
"""

from collections.abc import Iterator
from dataclasses import replace

from server.audio.voice import speech_level
from server.conversation.commands import StopTranscribing, Transcribe
from server.conversation.events import Transcribed, TranscriptionFailed
from server.conversation.history import History, Message, Part
from server.conversation.listener import SAMPLE_RATE
from server.conversation.nearness import NEARNESS_DB
from server.conversation.outputs import Output
from server.conversation.utterance import Utterance, commit_item

# The level of a voice that goes on is that of its last seconds.
RECENT_SECONDS = 4.0
_TURNS_OF_LEVEL = 3


class Recognition:
    """What is being recognised, until its words stand in `history`."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._unheard: dict[str, Utterance] = {}
        self._levels: list[float] = []

    @property
    def usual_level(self) -> float | None:
        """The level of the caller's last turns, in dB below full scale: the quietest of them; None before the first.

        Before it is known whether the first has words, it is that of the caller.
        """
        unheard = (utterance.level for utterance in self._unheard.values() if utterance.level is not None)
        return min(self._levels or unheard, default=None)

    @property
    def all_heard(self) -> bool:
        """Whether the words of everything committed are known."""
        return not self._unheard

    def unheard(self, item_id: str) -> Utterance | None:
        """The committed utterance whose words are not known yet."""
        return self._unheard.get(item_id)

    def ask(self, utterance: Utterance, pcm: bytes, fragment: bool = False) -> Transcribe:
        """Recognise the utterance, or as much of it as there is."""
        utterance.attempt += 1
        utterance.asked = True
        utterance.level = speech_level(recent(pcm))
        return Transcribe(utterance.item_id, utterance.attempt, pcm, fragment)

    def stop(self, utterance: Utterance) -> Iterator[Output]:
        """What was asked for is not wanted any more."""
        if utterance.asked:
            utterance.asked = False
            utterance.answer = utterance.question = None
            yield StopTranscribing(utterance.item_id)

    def commit(self, utterance: Utterance, wants_answer: bool = True) -> Iterator[Output]:
        """The utterance becomes an item."""
        utterance.part = Part("input_audio")
        self._unheard[utterance.item_id] = utterance
        yield from commit_item(self._history, Message(utterance.item_id, "user", [utterance.part]), wants_answer)

    def deliver(self, utterance: Utterance, answer: Transcribed | TranscriptionFailed) -> Iterator[Output]:
        """The words of a committed utterance are known."""
        assert utterance.part is not None, "only what is committed is delivered"
        del self._unheard[utterance.item_id]
        if isinstance(answer, Transcribed) and answer.transcript and utterance.level is not None:
            self._add_level(utterance.level)
        utterance.part.text = answer.transcript if isinstance(answer, Transcribed) else ""
        self._history.measure(self._history.get(utterance.item_id))
        if isinstance(answer, Transcribed):
            answer = replace(answer, untold=utterance.early.untold(answer.transcript))
        yield answer

    def _add_level(self, level: float) -> None:
        """Of the last turns, those that were much quieter were somebody else's."""
        known = [each for each in self._levels if each >= level - NEARNESS_DB]
        self._levels = [*known, level][-_TURNS_OF_LEVEL:]

    def ask_item(self, item_id: str, part: Part, pcm: bytes) -> Output:
        """A client handed over a message with audio in it; find its words."""
        utterance = self._unheard[item_id] = Utterance(item_id, part=part)
        command = self.ask(utterance, pcm)
        utterance.level = None  # it did not come through the caller's telephone
        return command

    def forget(self, item_id: str) -> Iterator[Output]:
        """The item was deleted; its words are wanted no more."""
        if utterance := self._unheard.pop(item_id, None):
            yield from self.stop(utterance)


def recent(pcm: bytes) -> bytes:
    """The last seconds of some audio."""
    return pcm[-round(2 * SAMPLE_RATE * RECENT_SECONDS) :]
