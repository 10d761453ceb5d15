"""A telephone call over Twilio in virtual time: `tests.support.call.Call` with Twilio at its far end.

Twilio plays what it is sent in real time and sends marks back; messages take `down` seconds to it and `up` seconds from
it.
"""

import json
from collections import deque
from typing import Any

from server.client.twilio_playout import TwilioPlayout
from server.dialects.dialect import Abilities
from server.dialects.twilio.dialect import TwilioDialect
from server.dialects.twilio.parameters import read_parameters
from server.wire_message import WireMessage
from tests.support.call import Call
from tests.support.twilio_messages import STREAM, dtmf, mark, media

_RATE = 8000


class Twilio:
    """What Twilio has been sent, and what the caller heard of it."""

    def __init__(self, down: float, up: float) -> None:
        self.received: list[dict[str, Any]] = []
        self.heard = 0.0
        """Seconds of audio."""
        self.heard_at_clear: list[float] = []
        self.playout = TwilioPlayout()
        self._down, self._up = down, up
        self._coming: deque[tuple[float, dict[str, Any]]] = deque()
        self._going: deque[tuple[float, str]] = deque()

    def take(self, message: bytes, now: float) -> None:
        """The server sends a message."""
        self.received.append(json.loads(message))
        self._coming.append((now + self._down, self.received[-1]))

    def stall(self, now: float, seconds: float) -> None:
        """Nothing is played for so long."""
        self.playout.ends_at = max(self.playout.ends_at, now) + seconds

    def marks_back(self, now: float) -> list[str]:
        """The marks that reach the server by now."""
        while self._coming and self._coming[0][0] <= now:
            came, message = self._coming.popleft()
            self._play(came)
            if message["event"] == "clear":
                self.heard_at_clear.append(self.heard)
            self._going += [(came + self._up, name) for name in self.playout.take(message, came)]
        self._play(now)
        back = []
        while self._going and self._going[0][0] <= now:
            back.append(self._going.popleft()[1])
        return back

    def _play(self, now: float) -> None:
        for played in self.playout.play(now):
            if isinstance(played, str):
                self._going.append((now + self._up, played))
            else:
                self.heard += len(played) / _RATE


class TwilioCall(Call):
    """One call. `parameters` are those of the TwiML."""

    def __init__(self, down: float = 0.0, up: float = 0.0, **parameters: Any) -> None:
        self.twilio = Twilio(down, up)
        self.echoes = True
        """Whether marks come back by themselves."""
        super().__init__(**parameters)

    def _connect(self, session: dict[str, Any]) -> None:
        parameters = read_parameters(session, Abilities())
        self.conversation = self._converse(parameters.config("Be brief."))
        self.dialect = TwilioDialect(STREAM, parameters.greeting, self.conversation)
        self._perform(self.dialect.greet(self.now))

    def _check_client(self) -> None:
        """Twilio has no copy of the conversation."""

    def _deliver(self, message: WireMessage) -> None:
        self.twilio.take(message.data, self.now)

    def _audio_of(self, seconds: float) -> bytes:
        return bytes(round(_RATE * seconds))

    def frame(self, probability: float, pcm: bytes = bytes(1024)) -> None:
        """One frame of the caller's audio, with what Twilio does in that time."""
        self.twilio_sends(media(b""))
        super().frame(probability, pcm)
        if self.echoes:
            for name in self.twilio.marks_back(self.now):
                self.twilio_sends(mark(name))

    def twilio_sends(self, message: dict[str, Any]) -> None:
        """A message of Twilio's."""
        self._perform(self.dialect.receive(json.dumps(message), self.now))

    def presses(self, keys: str) -> None:
        """The caller presses keys, one right after the other."""
        for key in keys:
            self.twilio_sends(dtmf(key))

    @property
    def told(self) -> list[str]:
        """The events of all messages to Twilio, runs of media as one."""
        kinds = [message["event"] for message in self.twilio.received]
        return [kind for before, kind in zip(["", *kinds], kinds, strict=False) if (kind, kind) != ("media", before)]
