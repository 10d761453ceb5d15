"""Endpointing: when the caller's utterance starts, pauses, goes on and ends, from voice-activity probabilities.

Pure. How much silence ends an utterance is set from outside (see `turn_policy`), or fixed. Times are seconds on the
caller's own audio clock (samples received over the sample rate), so a network stall moves nothing.
"""

from dataclasses import dataclass

from server.conversation.turn_policy import Eagerness

# Silero's own rule: speech ends only well below the threshold at which it starts, or a voice that fades would flutter.
HYSTERESIS = 0.15
# However low a threshold is set, a frame below this is silence, or an utterance would never end.
MIN_SPEECH_PROBABILITY = 0.01
# Two VAD frames: a click or a dropped packet is shorter, no word is.
MIN_SPEECH_SECONDS = 0.05
# A pause this long is often the end, and transcription is begun on the chance of it. Where turns end by what was said,
# sooner: the end can come no sooner than the words. Between two words speech is seldom quiet for two frames.
PAUSE_SECONDS = 0.2
PAUSE_TO_JUDGE_SECONDS = 0.064
# Speech is soft for a moment within a word ("s", "f") and at the end of a sentence. A voice that is so for longer is
# somebody else's.
_SOFT_SECONDS = 0.4
# So much of it may come before the first near sound of an utterance.
SOFT_ONSET_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How the caller's turns are found and what they do. Durations are seconds; the defaults are OpenAI Realtime's.

    With `eagerness` an utterance ends when it seems finished, without after `silence` alone.
    """

    threshold: float = 0.5
    prefix_padding: float = 0.3
    silence: float = 0.5
    idle_timeout: float | None = None
    create_response: bool = True
    interrupt_response: bool = True
    eagerness: Eagerness | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance began; its audio is to be taken from `start`, which lies before the first speech."""

    start: float


@dataclass(frozen=True, slots=True)
class Paused:
    """The caller has been silent for a moment since `speech_end`; the utterance may be over."""

    speech_end: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """The caller went on after a pause, which had begun at `speech_end` and lasted for `seconds`."""

    speech_end: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The utterance is over: the last speech ended at `speech_end`, the silence after it at `end`."""

    speech_end: float
    end: float


Endpoint = Started | Paused | Resumed | Stopped


class Endpointer:
    """Turns a row of voice-activity probabilities into the endpoints of utterances.

    Source of the rule: Silero's `VADIterator` (threshold with hysteresis), with the settings of OpenAI Realtime's
    `server_vad`.
    """

    def __init__(self, settings: TurnDetection) -> None:
        self.settings = settings
        self._pause = PAUSE_SECONDS if settings.eagerness is None else PAUSE_TO_JUDGE_SECONDS
        self._end_of_previous = 0.0
        self.reset()

    @property
    def speaking(self) -> bool:
        """Whether an utterance is open."""
        return self._open

    def reset(self) -> None:
        """Forget an open utterance, as when the caller's audio buffer is cleared or committed by hand."""
        self._open = False
        self._speech_since: float | None = None
        self._near_end: float | None = None
        self._silent_since: float | None = None
        self._paused = False
        self.patience = self.settings.silence
        """Seconds of silence that end the utterance; speech that goes on makes it that of the settings again."""

    def stop(self, end: float) -> Stopped:
        """The open utterance is over: no more of it comes after `end`."""
        stopped = Stopped(end if self._silent_since is None else self._silent_since, end)
        self._end_of_previous = end
        self.reset()
        return stopped

    def push(self, start: float, end: float, probability: float, near: bool = True) -> Endpoint | None:
        """Take the next frame, which lasts from `start` to `end`, and say what it changes.

        Voice that is not `near` begins nothing, and within an utterance it is silence, but for a moment.
        """
        if self._open:
            return self._within(start, end, probability, near)
        return self._before(start, end, probability, near)

    def _before(self, start: float, end: float, probability: float, near: bool) -> Endpoint | None:
        if probability < self.settings.threshold:
            self._speech_since = self._near_end = None
            return None
        if self._speech_since is None:
            self._speech_since = start
        if near:
            self._near_end = end
        if self._near_end is None or end - self._speech_since < MIN_SPEECH_SECONDS:
            return None
        self._open = True
        since = max(self._speech_since, end - SOFT_ONSET_SECONDS)
        return Started(max(self._end_of_previous, since - self.settings.prefix_padding))

    def _within(self, start: float, end: float, probability: float, near: bool) -> Endpoint | None:
        assert self._near_end is not None, "what is open began with something near"
        voiced = probability >= self.settings.threshold
        fading = probability >= max(self.settings.threshold - HYSTERESIS, MIN_SPEECH_PROBABILITY)
        if near and (voiced or (fading and self._silent_since is None)):
            self._near_end = end
            silent_since, self._silent_since = self._silent_since, None
            if self._paused and silent_since is not None:
                self._paused = False
                self.patience = self.settings.silence
                return Resumed(silent_since, start - silent_since)
            return None
        if self._silent_since is None:
            if fading and end - self._near_end < _SOFT_SECONDS:
                return None
            self._silent_since = start
        silence = end - self._silent_since
        if silence >= self.patience:
            return self.stop(end)
        if silence >= self._pause and not self._paused:
            self._paused = True
            return Paused(self._silent_since)
        return None
