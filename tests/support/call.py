"""A call in virtual time: a conversation and its dialect, with a caller who speaks, a model that is told what to answer
and a strict client that checks every event.

No socket, no model, no wall clock: time passes only when a test says what happens in it. The stand-ins are at the edge:
audio holds its own words (see `_Recogniser`), and a bot says what the test makes it say.
"""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from server.conversation import commands as c
from server.conversation import events as e
from server.conversation.config import Speculation
from server.conversation.conversation import Conversation
from server.conversation.history import Message
from server.conversation.response import Failure
from server.conversation.resuming import Played
from server.dialects.dialect import AudioReceived, Dialect, DialectOutput, FieldsIgnored, TicketShown, TicketWanted
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import Session
from server.limits import Limits
from server.llm.interface import ChatMessage, ChatRequest, Finished, Usage
from server.spoken_lines import LineKind, SpokenLines
from server.wire_message import WireMessage
from tests.support.strict_client import StrictClient

FRAME = 512 / 16_000
_TICK = 0.25
_LOUD = 3000
Sound = Literal["voice", "level", "soft", "far", "hum"]
_EVERY: dict[Sound, int] = {"voice": 2, "level": 2, "soft": 32, "far": 256, "hum": 1}
_FALLEN, _LAST_SYLLABLE = 4, 6  # so many fewer samples, in so many frames
_WEATHER = "sunshine tomorrow morning over most northern counties then rain"
SPEECH, FADING, SILENCE = 0.95, 0.4, 0.02
TRANSCRIBED = {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}


def server_vad(**settings: Any) -> dict[str, Any]:
    """A session's `audio` with such turn detection."""
    return {"input": {"turn_detection": {"type": "server_vad", **settings}}}


_UNSEEN = (
    c.StopGenerating,
    c.SaidInstead,
    c.PlayoutRanDry,
    c.ItemsLeftOut,
    FieldsIgnored,
    TicketWanted,
    TicketShown,
)
"""What only the pipeline does something with."""


class _Recogniser:
    """Audio of these tests says what it says: a sample is `_LOUD` and the number of a word, -`_LOUD` noise, 0 silence.

    A voice has that in every other of its samples, a soft one in fewer, one from afar in few of them, and a hum, which
    is dull, in all. A voice ends 6 dB more softly (3 from afar), as people do who have finished; a level one does not.
    """

    def __init__(self) -> None:
        self._words = [""]

    def record(self, text: str, frames: int, sound: "Sound") -> list[bytes]:
        """`frames` frames of audio in which `text` is spoken at an even pace; no text is noise."""
        samples = [_LOUD + len(self._words) + index for index in range(len(text.split()))] or [-_LOUD]
        self._words += text.split()
        pace, every = len(samples) / frames, _EVERY[sound]
        recording = np.zeros((frames, 512), "<i2")
        for frame in range(frames):
            fallen = sound in ("voice", "soft", "far") and frame >= frames - _LAST_SYLLABLE
            recording[frame, :: every * (_FALLEN if fallen else 1)] = samples[int(frame * pace)]
        return [frame.tobytes() for frame in recording]

    def hear(self, pcm: bytes) -> str:
        """The words in a stretch of audio."""
        samples = np.frombuffer(pcm, "<i2")
        changes = np.flatnonzero(np.diff(samples, prepend=0))
        heard = dict.fromkeys(int(sample) - _LOUD for sample in samples[changes] if sample > 0)
        return " ".join(self._words[number] for number in heard)


@dataclass
class _Recognition:
    due: float
    command: c.Transcribe | c.Glimpse


class Call:
    """One call. The session's settings are given as a client gives them in session.update."""

    def __init__(
        self,
        recognition_seconds: float = 0.1,
        limits: Limits | None = None,
        speculation: Speculation = "full",
        ids: Iterator[int] | None = None,
        lines: SpokenLines | None = None,
        binary_audio: bool = False,
        **session: Any,
    ) -> None:
        self.now = 1000.0
        self.recognition_seconds = recognition_seconds
        self.recognition_fails = False
        self.glimpses_are_sure = False
        self.sounds_finished: float | None = 0.99
        """What smart-turn says of every pause; None: it does not answer."""
        self.speculation: c.Speculate | None = None
        self.foreseen = False
        """Whether the last answer was what the speculation before it had asked for."""
        self.outputs: list[DialectOutput] = []
        self.client = StrictClient()
        self.under_way: list[str] = []
        """Ids of the responses that the model and the voice are at."""
        self.said: list[str] = []
        """What was to be said without a model."""
        self.requests: list[ChatRequest] = []
        self.judged: list[c.Judgement] = []
        self._audio = 0
        self._recogniser = _Recogniser()
        self._recognitions: list[_Recognition] = []
        self._ids = ids or itertools.count(1)
        self._binary_audio = binary_audio
        self._converse = partial(Conversation, new_id=self._new_id, limits=limits, speculation=speculation, lines=lines)
        self._connect(session)
        self._seen = len(self.client.received)

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids)}"

    def _connect(self, session: dict[str, Any]) -> None:
        wire = Session(id="sess_1", model="voicefleet", instructions="Be brief.")
        self.conversation = self._converse(wire.config())
        self.dialect: Dialect = OpenAiDialect(wire, self.conversation, self._new_id, binary_audio=self._binary_audio)
        self._perform(self.dialect.greet(self.now))
        if session:
            self.client_sends("session.update", session=session)

    # --- what happens

    def forget_what_was_asked(self) -> None:
        """The recogniser never answers what it has been asked so far."""
        self._recognitions.clear()

    def resumed(self, played: Played | None = None, seconds: float = 1.0) -> "Call":
        """The call as it goes on elsewhere, so many seconds after its connection was lost."""
        other = Call(self.recognition_seconds, ids=self._ids, binary_audio=self._binary_audio)
        other.now = self.now + seconds
        other._perform(other.dialect.resume(self.dialect.state(self.now, 1 << 20), played, other.now))
        return other

    def caller_says(self, text: str, seconds: float = 1.0, sound: Sound = "voice") -> None:
        """The caller speaks, or does so 12 dB more softly (`soft`); others in the room are 21 dB below (`far`)."""
        for pcm in self.record(text, seconds, sound):
            self.frame(SPEECH, pcm)

    def record(self, text: str, seconds: float, sound: Sound = "voice") -> list[bytes]:
        """Frames of audio (16 kHz PCM) in which the recogniser will understand just this."""
        return self._recogniser.record(text, max(1, round(seconds / FRAME)), sound)

    def room_talks(self, seconds: float) -> None:
        """A television, or a colleague: a voice from afar, three words a second."""
        words = itertools.islice(itertools.cycle(_WEATHER.split()), math.ceil(3 * seconds))
        self.caller_says(" ".join(words), seconds, sound="far")

    def caller_makes_noise(self, seconds: float = 0.3) -> None:
        """A cough or a door: voice to the detector, no words to the recogniser."""
        self.caller_says("", seconds)

    def silence(self, seconds: float) -> None:
        """Nobody speaks into the phone; what has been sent to the client is played."""
        for _ in range(max(1, round(seconds / FRAME))):
            self.frame(SILENCE)

    def frame(self, probability: float, pcm: bytes = bytes(1024)) -> None:
        """One frame of the caller's audio; it arrives and is judged at once."""
        self.conversation.append_audio(pcm)
        self._audio += 1
        self.now += FRAME
        start, end = (self._audio - 1) * FRAME, self._audio * FRAME
        self._perform(self.conversation.voice_activity(start, end, probability, self.now))
        self._deliver_transcripts()

    def no_audio(self, seconds: float) -> None:
        """Nothing at all comes from the phone, not even silence."""
        for _ in range(round(seconds / _TICK)):
            self.now += _TICK
            self._perform(self.conversation.tick(self.now))
            self._deliver_transcripts()

    def client_sends(self, type: str, /, **fields: Any) -> list[dict[str, Any]]:
        """A client event; gives the server events that came at once."""
        return self.client_sends_raw(json.dumps({"type": type, **fields}))

    def client_sends_raw(self, message: str | bytes) -> list[dict[str, Any]]:
        """Whatever a client may send."""
        before = len(self.client.received)
        self._perform(self.dialect.receive(message, self.now))
        return self.client.received[before:]

    def client_adds(self, text: str, role: str = "user", **fields: Any) -> str:
        """The application types a message; gives the item's id."""
        kind = "output_text" if role == "assistant" else "input_text"
        item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **fields}
        return str(self.client_sends("conversation.item.create", item=item)[0]["item"]["id"])

    def bot_turns_to(self, response_id: str) -> None:
        """What the model and the voice do next they do for this one of the responses under way."""
        self.under_way.remove(response_id)
        self.under_way.append(response_id)

    def bot_says(self, clause: str, seconds: float | None = None) -> None:
        """The model and the voice give a clause (15 characters a second); all of its audio is sent at once."""
        self._perform(self.conversation.begin_clause(self._response, clause))
        self.bot_sounds(len(clause) / 15 if seconds is None else seconds)
        if seconds is None:
            self.conversation.end_clause(self._response)

    def bot_sounds(self, seconds: float) -> None:
        """More audio of the clause that is being said."""
        response = self._response
        whole, rest = divmod(seconds, 0.1)
        for length in [0.1] * int(whole) + [rest] * (rest > 1e-6):
            self._perform(self.conversation.speak(response, self._audio_of(length), length, self.now))

    def _audio_of(self, seconds: float) -> bytes:
        """What is in it does not matter here."""
        return b"\0\0"

    def bot_writes(self, *texts: str) -> None:
        """The model writes text for the client to read."""
        for text in texts:
            self._perform(self.conversation.write(self._response, text))

    def bot_calls(self, name: str, *arguments: str, call_id: str = "call_1") -> None:
        """The model calls a function; its arguments come in pieces."""
        self._perform(self.conversation.call(self._response, call_id, name))
        for piece in arguments:
            self._perform(self.conversation.call_arguments(self._response, piece))

    def bot_finishes(self, reason: Any = "stop") -> None:
        """The answer has been sent to its end."""
        self._perform(self.conversation.finish(self._response, Finished(reason, Usage(12, 7, 3)), self.now))

    def bot_fails(self) -> None:
        """The model or the voice gives up."""
        failure = Failure("unavailable", "the language model does not answer")
        self._perform(self.conversation.fail(self._response, failure, self.now))

    def bot_excuses_itself(self, kind: LineKind = "failed") -> str:
        """What the caller hears in place of the rest, before the model or the voice gives up; gives the words."""
        if words := self.conversation.line_instead(self._response, kind):
            self._perform(self.conversation.break_off(self._response, kind))
            self.bot_says(words)
        return words

    def turn(self, caller: str, bot: str) -> None:
        """The caller says something and hears the whole answer."""
        self.caller_says(caller)
        self.silence(1.0)
        self.bot_says(bot)
        self.bot_finishes()
        self.silence(len(bot) / 15 + 0.1)

    # --- what can be seen

    @property
    def answering(self) -> str | None:
        """Id of the response that the model answers: of several, of the one that it was asked for last."""
        return self.under_way[-1] if self.under_way else None

    @property
    def events(self) -> list[str]:
        """Types of all server events that came since this was asked last; runs of one type count once."""
        new, self._seen = self.client.received[self._seen :], len(self.client.received)
        return [kind for kind, _ in itertools.groupby(event["type"] for event in new)]

    @property
    def errors(self) -> list[str]:
        """Codes of all errors so far."""
        return [event["error"]["code"] for event in self.all_of("error")]

    @property
    def history(self) -> list[tuple[str, str]]:
        """Who said what, as the next model request would show it."""
        return [(item.role, item.text) for item in self.conversation.history if isinstance(item, Message)]

    @property
    def heard(self) -> str:
        """What history holds of the assistant's last message."""
        return [text for role, text in self.history if role == "assistant"][-1]

    @property
    def asked(self) -> list[ChatMessage]:
        """The messages of the last request to the model."""
        return list(self.requests[-1].messages)

    @property
    def awaits_words(self) -> bool:
        """Whether the recogniser is at work."""
        return bool(self._recognitions)

    @property
    def caller_is_speaking(self) -> bool:
        """Whether the client was told that an utterance began, and not that it is over."""
        return self.client.speaking is not None

    def all_of(self, type: str) -> list[dict[str, Any]]:
        """All server events of a type."""
        return [event for event in self.client.received if event["type"] == type]

    def last(self, type: str) -> dict[str, Any]:
        """The latest server event of a type."""
        return self.all_of(type)[-1]

    def commands(self, kind: type) -> list[Any]:
        """All commands of a kind that the pipeline was given."""
        return [output for output in self.outputs if isinstance(output, kind)]

    # --- the shell

    @property
    def _response(self) -> str:
        assert self.answering, "the model has not been asked"
        return self.answering

    def _perform(self, outputs: Any) -> None:
        before = len(self.client.received)
        for output in outputs:
            self.outputs.append(output)
            match output:
                case AudioReceived(audio):
                    self.conversation.append_audio(audio)
                case c.Transcribe() | c.Glimpse():
                    self._recognitions.append(_Recognition(self.now + self.recognition_seconds, output))
                case c.StopTranscribing(item_id):
                    self._recognitions = [given for given in self._recognitions if given.command.item_id != item_id]
                    self._stop_speculating(item_id)
                case c.WentOn(item_id):
                    self._stop_speculating(item_id)
                case c.Generate() | c.Say():
                    self._generate(output)
                case c.Speculate():
                    self.speculation = output
                case c.JudgeTurn(item_id, attempt):
                    if self.sounds_finished is not None:
                        self._perform(self.conversation.turn_judged(item_id, attempt, self.sounds_finished))
                case c.VoiceJudged(judgement):
                    self.judged.append(judgement)
                    self._tell(output)
                case _ if not isinstance(output, _UNSEEN):
                    self._tell(output)
        if len(self.client.received) > before:
            self._check_client()

    def _check_client(self) -> None:
        assert self.client.items == [item.id for item in self.conversation.history]

    def _stop_speculating(self, item_id: str) -> None:
        if self.speculation and self.speculation.item_id == item_id:
            self.speculation = None

    def _generate(self, command: c.Generate | c.Say) -> None:
        self.under_way.append(command.response.id)
        if isinstance(command, c.Say):
            self.said.append(command.words)
            return
        self.requests.append(command.request)
        self.foreseen = self.speculation is not None and self.speculation.foresaw(command)
        self.speculation = None

    def _tell(self, output: Any) -> None:
        if isinstance(output, e.ResponseDone) and output.response.id in self.under_way:
            self.under_way.remove(output.response.id)
        for message in self.dialect.encode(output):
            self._deliver(message)

    def _deliver(self, message: WireMessage) -> None:
        (self.client.take_audio if message.binary else self.client.take)(message.data)

    def _deliver_transcripts(self) -> None:
        due = [given for given in self._recognitions if given.due <= self.now]
        self._recognitions = [given for given in self._recognitions if given.due > self.now]
        for given in due:
            command = given.command
            answer: e.Transcribed | e.TranscriptionFailed
            if isinstance(command, c.Glimpse):
                words = "" if self.recognition_fails else self._recogniser.hear(command.pcm)
                sure = self.glimpses_are_sure and words != ""
                self._perform(self.conversation.glimpsed(command.item_id, command.attempt, words, sure))
                continue
            if self.recognition_fails:
                answer = e.TranscriptionFailed(command.item_id, 0, "unavailable", "speech recognition does not answer")
            else:
                heard = self._recogniser.hear(command.pcm)
                wanted = self.conversation.config.token_probabilities
                tokens = tuple(e.Token(f" {word}".encode(), -0.25) for word in heard.split() if wanted)
                answer = e.Transcribed(command.item_id, 0, heard, len(command.pcm) / 32_000, tokens=tokens)
            self._perform(self.conversation.transcribed(command.attempt, answer, self.now))
