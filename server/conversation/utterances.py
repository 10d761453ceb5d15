"""The caller's side of the conversation: from audio to utterances, from utterances to words.

Pure. An utterance is being spoken, then committed (it becomes an item), then heard (its words are known). Recognition
is begun at a pause, on the chance that the utterance is over, so that its end costs no further wait.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

from server.conversation.endpointing import Paused, Resumed, Started, TurnDetection
from server.conversation.errors import BufferTooShort
from server.conversation.events import (
    AudioCleared,
    AudioCommitted,
    ItemAdded,
    ItemDone,
    Output,
    SpeechStarted,
    SpeechStopped,
    StopTranscribing,
    Transcribe,
    Transcribed,
    TranscriptionFailed,
    TurnEnded,
)
from server.conversation.history import History, Message, Part
from server.conversation.listener import Listener

# Less audio than this holds no word; OpenAI Realtime refuses to commit it too.
MIN_COMMIT_SECONDS = 0.1
# Recognition begins at every pause anew; of a monologue that would be too much work on a mere chance of its end.
LONGEST_CHANCE_SECONDS = 15.0
# What a resampler on the way here may still hold back of it.
_RESAMPLER_LAG_SECONDS = 0.005


@dataclass(slots=True)
class _Utterance:
    """Audio on its way to being words.

    `attempt` counts the requests to recognise it, and only the last one's answer counts; `part` is set once it is an
    item's.
    """

    item_id: str
    start: float = 0.0
    part: Part | None = None
    attempt: int = 0
    asked: bool = False
    answer: Transcribed | TranscriptionFailed | None = None


class Utterances:
    """What the caller is saying and has said, until its words stand in `history`."""

    def __init__(self, turn_detection: TurnDetection | None, history: History, new_id: Callable[[str], str]) -> None:
        self._listener = Listener(turn_detection)
        self._history = history
        self._new_id = new_id
        self._spoken: _Utterance | None = None
        self._unheard: dict[str, _Utterance] = {}

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of an utterance."""
        return self._listener.speaking

    @property
    def announced_id(self) -> str | None:
        """Id of the item that the open utterance will become, which the client has been told."""
        return self._spoken.item_id if self._spoken else None

    @property
    def all_heard(self) -> bool:
        """Whether the words of everything committed are known."""
        return not self._unheard

    def configure(self, turn_detection: TurnDetection | None) -> None:
        """Take new settings. An utterance that is open under the old ones is open no more; its audio stays."""
        self._listener.configure(turn_detection)
        if not self._listener.speaking:
            self._spoken = None

    def append_audio(self, pcm: bytes) -> None:
        """The caller's next audio: 16-bit little-endian mono PCM at 16 kHz."""
        self._listener.append(pcm)

    def voice_activity(self, start: float, end: float, probability: float) -> Iterator[Output]:
        """The probability that the caller speaks between `start` and `end`, in seconds of their audio."""
        endpoint = self._listener.push(start, end, probability)
        if isinstance(endpoint, Started):
            self._spoken = _Utterance(self._new_id("item"), endpoint.start)
            yield SpeechStarted(self._spoken.item_id, round(endpoint.start * 1000))
        elif endpoint is not None:
            utterance = self._spoken
            assert utterance is not None, "endpointing pauses, resumes and stops only what it started"
            match endpoint:
                case Paused():
                    if end - utterance.start <= LONGEST_CHANCE_SECONDS:
                        yield self._recognise(utterance, self._listener.audio(utterance.start, end))
                case Resumed():
                    yield from self._stop_recognising(utterance)
                case _:
                    yield from self._stopped(utterance, end, end - endpoint.speech_end)

    def audio_stopped(self, end: float, silence: float) -> Iterator[Output]:
        """The caller's audio stopped at `end`, `silence` seconds ago, and the open utterance ends with it."""
        assert self._spoken is not None, "the caller was speaking"
        stopped = self._listener.stop(end)
        yield from self._stopped(self._spoken, end, end - stopped.speech_end + silence)

    def commit(self) -> Iterator[Output]:
        """End the utterance by hand: all that is held is committed. Raises `BufferTooShort`."""
        held = self._listener.buffered
        if held < MIN_COMMIT_SECONDS - _RESAMPLER_LAG_SECONDS:
            raise BufferTooShort(held, MIN_COMMIT_SECONDS)
        utterance, self._spoken = self._spoken or _Utterance(self._new_id("item")), None
        yield TurnEnded(0.0)
        yield from self._stop_recognising(utterance)
        yield from self._commit(utterance)
        yield self._recognise(utterance, self._listener.take_all())

    def clear(self) -> Iterator[Output]:
        """Forget the audio that is not committed."""
        self._listener.clear()
        if self._spoken:
            yield from self._stop_recognising(self._spoken)
        self._spoken = None
        yield AudioCleared()

    def recognise_item(self, item_id: str, part: Part, pcm: bytes) -> Output:
        """A client handed over a message with audio in it; find its words."""
        utterance = self._unheard[item_id] = _Utterance(item_id, part=part)
        return self._recognise(utterance, pcm)

    def forget(self, item_id: str) -> Iterator[Output]:
        """The item was deleted; its words are wanted no more."""
        if utterance := self._unheard.pop(item_id, None):
            yield from self._stop_recognising(utterance)

    def answered(self, attempt: int, answer: Transcribed | TranscriptionFailed) -> Iterator[Output]:
        """Recognition gave its answer to the request numbered `attempt`. A stale one is dropped."""
        being_spoken = self._spoken is not None and self._spoken.item_id == answer.item_id
        utterance = self._spoken if being_spoken else self._unheard.get(answer.item_id)
        if utterance is None or utterance.attempt != attempt or not utterance.asked:
            return
        utterance.answer = answer
        if not being_spoken:
            yield from self._deliver(utterance, answer)

    def _stopped(self, utterance: _Utterance, end: float, silence: float) -> Iterator[Output]:
        """The utterance is over: at `end` of the caller's audio, `silence` seconds after their last speech."""
        yield SpeechStopped(utterance.item_id, round(end * 1000))
        yield TurnEnded(silence)
        yield from self._commit(utterance)
        if not utterance.asked:  # it was too long, or the silence that ends a turn is set shorter than a pause
            yield self._recognise(utterance, self._listener.audio(utterance.start, end))
        self._spoken = None
        self._listener.drop_before(end)
        if utterance.answer:
            yield from self._deliver(utterance, utterance.answer)

    def _recognise(self, utterance: _Utterance, pcm: bytes) -> Transcribe:
        utterance.attempt += 1
        utterance.asked = True
        return Transcribe(utterance.item_id, utterance.attempt, pcm)

    def _stop_recognising(self, utterance: _Utterance) -> Iterator[Output]:
        if utterance.asked:
            utterance.asked = False
            utterance.answer = None
            yield StopTranscribing(utterance.item_id)

    def _commit(self, utterance: _Utterance) -> Iterator[Output]:
        utterance.part = Part("input_audio")
        self._unheard[utterance.item_id] = utterance
        yield from commit_item(self._history, Message(utterance.item_id, "user", [utterance.part]))

    def _deliver(self, utterance: _Utterance, answer: Transcribed | TranscriptionFailed) -> Iterator[Output]:
        assert utterance.part is not None, "only what is committed is delivered"
        del self._unheard[utterance.item_id]
        utterance.part.text = answer.transcript if isinstance(answer, Transcribed) else ""
        yield answer


def commit_item(history: History, item: Message) -> Iterator[Output]:
    """The caller's audio (or their silence) becomes the newest item."""
    previous = history.insert(item)
    yield AudioCommitted(item.id, previous)
    yield ItemAdded(deepcopy(item), previous)
    yield ItemDone(deepcopy(item), previous)
