"""Twilio Media Streams spoken to one telephone call: its messages into calls on the conversation, and back.

Pure. The client is Twilio, not an application: it is told nothing but audio, has no use for errors or tickets, and runs
no functions. What breaks the protocol ends the call with a close code, and Twilio goes on with the TwiML that follows.
"""

from collections.abc import Iterator, Sequence

from server.access.rate_limit import AudioAllowance, AudioRateExceeded
from server.audio.formats import AudioFormat
from server.conversation.conversation import Conversation
from server.conversation.events import AudioDelta, PartDone, PlaybackCleared, SpeechStarted, TextDelta
from server.conversation.resuming import Played
from server.dialects.dialect import AudioReceived, ClientAtFault, DialectOutput, FieldsIgnored, Reply, Told
from server.dialects.twilio import messages as m
from server.dialects.twilio.faults import out_of_order, read
from server.dialects.twilio.keypad import Keypad
from server.dialects.twilio.marks import Marks
from server.errors import VoicefleetError
from server.wire_message import WireMessage

_FRAME_BYTES = 160  # 20 ms
_SILENCE = b"\xff"


class TwilioDialect:
    """One stream's side of a session, from its `start` on. `greeting` is said first; without one the model begins."""

    input_format = output_format = AudioFormat.of("audio/pcmu")
    can_resume = False

    def __init__(self, stream_sid: str, greeting: str, conversation: Conversation) -> None:
        self._stream_sid = stream_sid
        self._greeting = greeting
        self._conversation = conversation
        self._allowance = AudioAllowance(conversation.limits.audio_rate, conversation.limits.audio_burst_seconds)
        self._keypad = Keypad()
        self._marks = Marks(conversation.playback)
        self._now = 0.0
        self._stopped = False
        self._audio = b""  # less than a frame
        self._item_id = ""  # of the clause that is being spoken
        self._clause = 0  # its number in the item, from 0
        self._unmarked = False  # whether audio of it has been sent

    def greet(self, now: float) -> Sequence[DialectOutput]:
        """The caller hears somebody at once: nobody speaks first into a silent line."""
        if self._greeting:
            return self._conversation.say(self._greeting, interruptible=True, now=now)
        return self._conversation.greet()

    def receive(self, message: str | bytes, now: float) -> Sequence[DialectOutput]:
        """Act on one of Twilio's messages. Raises `ClientAtFault`."""
        self._now = now
        received = read(message)
        self._marks.keep_time(now)
        outputs: list[DialectOutput] = []
        if text := self._keypad.paused(now):
            outputs += self._conversation.typed(text, now)
        return [*outputs, *self._act(received, now)]

    def _act(self, received: m.TwilioMessage | None, now: float) -> Sequence[DialectOutput]:
        match received:
            case None:
                return [FieldsIgnored(("event",))]
            case m.Connected() | m.Start():
                raise out_of_order(received, "neither 'connected' nor 'start' a second time")
            case _ if received.stream_sid != self._stream_sid:
                raise ClientAtFault("foreign_stream", 1002, "got a message of another stream; takes those of one")
            case _ if self._stopped:
                pass
            case m.Media(m.InboundAudio(audio, "inbound")):
                return self._hear(audio, now)
            case m.Mark(m.MarkName(name)):
                self._marks.came_back(name, now)
            case m.Dtmf(m.Key(key)):
                text = self._keypad.press(key, now)
                return self._conversation.typed(text, now) if text else self._conversation.interrupt(now)
            case m.Stop():
                self._stopped = True
        return []

    def _hear(self, audio: bytes, now: float) -> Sequence[DialectOutput]:
        try:
            self._allowance.take(self.input_format.duration(len(audio)), now)
        except AudioRateExceeded as error:
            raise ClientAtFault("audio_rate", 1008, str(error)) from None
        return [AudioReceived(audio)]

    def encode(self, output: Told) -> list[WireMessage]:
        """Audio in frames of 20 ms, a mark behind each clause, and `clear` once the caller has taken the floor."""
        return [WireMessage(m.encode(message)) for message in self._messages(output)]

    def _messages(self, output: Told) -> Iterator[m.ServerMessage]:
        match output:
            case AudioDelta(_, audio):
                self._unmarked = True
                yield from self._play(audio)
            case TextDelta(place, "output_audio"):
                yield from self._end_clause()
                self._clause = self._clause + 1 if place.item_id == self._item_id else 0
                self._item_id = place.item_id
            case PartDone(_, "output_audio"):
                yield from self._play(_SILENCE * (-len(self._audio) % _FRAME_BYTES))
                yield from self._end_clause()
            case SpeechStarted() | PlaybackCleared() if self._unmarked or self._marks:
                self._audio, self._unmarked = b"", False
                self._marks.drop()
                yield m.Clear(self._stream_sid)

    def _play(self, audio: bytes) -> Iterator[m.ServerMessage]:
        """What fills no frame yet waits for the rest of the item."""
        audio = self._audio + audio
        end = len(audio) - len(audio) % _FRAME_BYTES
        self._audio = audio[end:]
        for start in range(0, end, _FRAME_BYTES):
            yield m.OutboundMedia(self._stream_sid, m.OutboundAudio(audio[start : start + _FRAME_BYTES]))

    def _end_clause(self) -> Iterator[m.ServerMessage]:
        """Of a clause that has no sound nothing can come back."""
        if self._unmarked:
            self._unmarked = False
            yield m.Mark(m.MarkName(self._marks.set(self._item_id, self._clause, self._now)), self._stream_sid)

    # --- what is asked only of clients that can resume

    def state(self, now: float, most_bytes: int) -> bytes:
        """There are no tickets of a telephone call."""
        raise AssertionError("a Twilio stream can't be resumed")

    def resume(self, state: bytes, played: Played | None, now: float) -> Sequence[DialectOutput]:
        """There are no tickets of a telephone call."""
        raise AssertionError("a Twilio stream can't be resumed")

    def refuse(self, error: VoicefleetError) -> Reply:
        """Only tickets are refused in this way."""
        raise AssertionError("a Twilio stream can't be resumed")
