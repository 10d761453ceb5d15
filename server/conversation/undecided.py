"""Utterances that may be no turn, of which the client is told nothing yet: candidates.

Pure. It keeps their audio and has it recognised; what they are is decided in `server.conversation.candidates`.
"""

from collections.abc import Iterator

from server.conversation.endpointing import Endpoint, Paused, Resumed, Stopped
from server.conversation.events import AudioCommitted
from server.conversation.listener import Listener
from server.conversation.outputs import Output
from server.conversation.recognition import RECENT_SECONDS, Recognition, recent
from server.conversation.utterance import LONGEST_CHANCE_SECONDS, Utterance


class Undecided:
    """Candidates; their audio is in `listener`. `audio_end` is where that ends by now."""

    def __init__(self, listener: Listener, recognition: Recognition) -> None:
        self._listener = listener
        self._recognition = recognition
        self._over: dict[str, Utterance] = {}

    @property
    def over(self) -> list[Utterance]:
        """Those that have ended, and are undecided still."""
        return list(self._over.values())

    def follow(self, candidate: Utterance, endpoint: Endpoint) -> None:
        """The candidate that is being spoken pauses, goes on or ends."""
        assert candidate.evidence is not None, "what is announced is no candidate"
        match endpoint:
            case Paused():
                candidate.paused = True
            case Resumed():
                candidate.paused = candidate.whole = candidate.evidence.whole = False
                candidate.asked, candidate.answer = candidate.asked and not candidate.answer, None
            case _:
                assert isinstance(endpoint, Stopped), "what has started starts no more"
                candidate.over = endpoint
                candidate.pcm = self._listener.audio(candidate.start, endpoint.end)
                self._over[candidate.item_id] = candidate
                self._listener.drop_before(endpoint.end)

    def ask(self, candidate: Utterance, audio_end: float, soon: bool) -> Output:
        """Recognise the candidate as it is so far, the last seconds of it; in a pause and at its end, all of it.

        While it goes on, words may come `soon` rather than surely.
        """
        if candidate.over:
            candidate.whole, pcm = True, candidate.pcm
        else:
            long = audio_end - candidate.start > LONGEST_CHANCE_SECONDS
            candidate.whole = candidate.paused and not long
            start = candidate.start if candidate.whole else recent_start(candidate, audio_end)
            pcm = self._listener.audio(start, audio_end)
        return self._recognition.ask(candidate, pcm, fragment=soon and not candidate.whole)

    def recent_audio(self, candidate: Utterance, audio_end: float) -> bytes:
        """The last seconds of a candidate."""
        if candidate.over:
            return recent(candidate.pcm)
        return self._listener.audio(recent_start(candidate, audio_end), audio_end)

    def settle(self, candidate: Utterance, wants_answer: bool = True) -> Iterator[Output]:
        """The candidate is over, and its words belong to the conversation."""
        del self._over[candidate.item_id]
        if not candidate.whole:
            yield from self._recognition.stop(candidate)
        yield from self._recognition.commit(candidate, wants_answer)
        if not candidate.asked:
            yield self._recognition.ask(candidate, candidate.pcm)
        candidate.pcm = b""
        if candidate.answer:
            yield from self._recognition.deliver(candidate, candidate.answer)

    def keep(self, candidate: Utterance, told_as_turn: bool) -> Iterator[Output]:
        """The candidate is over, and was no turn: its words stay in the conversation and want no answer.

        Unless `told_as_turn`, the client is told of an item, and not of audio that was committed.
        """
        candidate.evidence = candidate.level = None
        outputs = self.settle(candidate, wants_answer=False)
        yield from (output for output in outputs if told_as_turn or not isinstance(output, AudioCommitted))

    def drop(self, candidate: Utterance) -> Iterator[Output]:
        """The candidate is over, and was nothing."""
        del self._over[candidate.item_id]
        yield from self._recognition.stop(candidate)

    def drop_all(self) -> Iterator[Output]:
        """Drop all that are over."""
        for candidate in self.over:
            yield from self.drop(candidate)

    def forget(self) -> None:
        """Turns are no longer looked for."""
        self._over.clear()


def recent_start(candidate: Utterance, audio_end: float) -> float:
    """Where the last seconds of a candidate begin, on the clock of the caller's audio."""
    return max(candidate.start, audio_end - RECENT_SECONDS)
