"""The answers that are under way: the conversation's, of which there is one at a time, and others beside it.

Pure. What an answer tells the client is its writer's business, what the caller hears of it the playback's; here the two
are joined. When an answer begins and ends is decided elsewhere (`server.conversation.turn_taking`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from server.conversation.asked import Asked
from server.conversation.commands import PlayoutRanDry, StopGenerating
from server.conversation.context import Requested
from server.conversation.events import AudioDelta
from server.conversation.history import History, Message
from server.conversation.outputs import Output
from server.conversation.playback import Playback
from server.conversation.response import EndReason, Failure, Response, ResponseStatus
from server.conversation.spoken import Spoken
from server.conversation.writer import ResponseWriter
from server.llm.interface import Usage


@dataclass(eq=False, slots=True)
class UnderWay:
    """An answer to what was `asked`. It `waits` until the model can be asked, and `requested` is what it was asked.

    `broken` is a message of which no more is said; until the answer ends, the client is shown it as it was told.
    """

    writer: ResponseWriter
    asked: Asked
    waits: bool = True
    requested: Requested | None = None
    broken: Message | None = None

    @property
    def response(self) -> Response:
        """The answer as far as it has come."""
        return self.writer.response

    @property
    def in_conversation(self) -> bool:
        """Whether it is the conversation's; else it runs beside it."""
        return self.response.config.in_conversation

    @property
    def for_caller(self) -> bool:
        """Whether it is part of what is said on the call; text beside the conversation is the application's own."""
        return self.in_conversation or self.response.config.modality == "audio"


class Answers:
    """All answers that are under way. What comes for one that has ended is dropped."""

    def __init__(self, history: History, playback: Playback, spoken: Spoken, new_id: Callable[[str], str]) -> None:
        self._history = history
        self._playback = playback
        self._spoken = spoken
        self._new_id = new_id
        self._under_way: dict[str, UnderWay] = {}
        self.aloud: UnderWay | None = None
        """Whose audio was sent last; it may have ended."""
        self.usage = Usage()
        """Of all that have ended."""

    def __iter__(self) -> Iterator[UnderWay]:
        return iter(list(self._under_way.values()))

    def get(self, response_id: str) -> UnderWay | None:
        """The answer of that id; None if it has ended."""
        return self._under_way.get(response_id)

    @property
    def main(self) -> UnderWay | None:
        """The conversation's."""
        return next((answer for answer in self if answer.in_conversation), None)

    @property
    def beside(self) -> list[UnderWay]:
        """Those outside the conversation."""
        return [answer for answer in self if not answer.in_conversation]

    @property
    def for_caller(self) -> list[UnderWay]:
        """Those that are part of what is said on the call, the oldest first."""
        return [answer for answer in self if answer.for_caller]

    def is_speaking(self, answer: UnderWay) -> bool:
        """Whether the answer is in the middle of something that the caller hears."""
        return answer.writer.message is not None and self._playback.knows(answer.writer.message.id)

    def owns(self, item_id: str) -> bool:
        """Whether an answer has made an item of that id."""
        return any(item.id == item_id for answer in self for item in answer.response.output)

    def begin(self, asked: Asked) -> UnderWay:
        """A new answer; its writer has still to start."""
        history = self._history if asked.config.in_conversation else None
        writer = ResponseWriter(Response(self._new_id("resp"), asked.config), history, self._new_id)
        answer = self._under_way[writer.response.id] = UnderWay(writer, asked)
        return answer

    def end(
        self,
        answer: UnderWay,
        status: ResponseStatus,
        usage: Usage | None = None,
        reason: EndReason | None = None,
        failure: Failure | None = None,
        may_go_on: bool = False,
    ) -> Iterator[Output]:
        """The answer ends, well or not. `may_go_on`: its rest may be wanted yet."""
        message, broken_off = answer.writer.message, status in ("cancelled", "failed")
        if broken_off:
            yield StopGenerating(answer.response.id, may_go_on)
        yield from answer.writer.finish(status, usage or Usage(), reason, failure)
        self.usage += answer.response.usage
        if answer.broken:
            self._spoken.end(answer.broken, broken_off=True)
        if message:
            self._spoken.end(message, broken_off)
        self._spoken.forget(answer.response.output)
        del self._under_way[answer.response.id]

    def break_off(self, answer: UnderWay) -> Iterator[Output]:
        """What the answer is in the middle of ends; what is said after it is another message."""
        answer.broken = answer.writer.message
        yield from answer.writer.break_off()

    # --- what an answer consists of

    def begin_clause(self, response_id: str, clause: str) -> Iterator[Output]:
        """The audio that follows speaks `clause`."""
        if answer := self.get(response_id):
            yield from answer.writer.write(clause)
            self._playback.clause(answer.writer.place.item_id, clause)

    def end_clause(self, response_id: str) -> None:
        """All audio of the clause has been sent."""
        if (answer := self.get(response_id)) and answer.writer.message:
            self._playback.finish(answer.writer.message.id)

    def unspoken(self, response_id: str, clause: str) -> Iterator[Output]:
        """The voice can't say `clause`; it is part of the answer all the same, as text."""
        if answer := self.get(response_id):
            yield from self.begin_clause(response_id, clause)
            self._playback.finish(answer.writer.place.item_id)

    def speak(self, answer: UnderWay, audio: bytes, seconds: float, now: float) -> Iterator[Output]:
        """Audio for the client, in its own format: `seconds` long, spoken after what was sent before."""
        self.aloud = answer
        ran_dry = self._playback.audio(answer.writer.place.item_id, seconds, now)
        yield AudioDelta(answer.writer.place, audio)
        if ran_dry:
            yield PlayoutRanDry()

    def write(self, response_id: str, text: str) -> Iterator[Output]:
        """Text for the client to read."""
        if answer := self.get(response_id):
            yield from answer.writer.write(text)

    def call(self, response_id: str, call_id: str, name: str) -> Iterator[Output]:
        """The model calls a function."""
        if answer := self.get(response_id):
            if answer.writer.message:
                self._spoken.end(answer.writer.message, broken_off=False)
            yield from answer.writer.call(call_id, name)

    def call_arguments(self, response_id: str, delta: str) -> Iterator[Output]:
        """More of the arguments of the function called last."""
        if answer := self.get(response_id):
            yield from answer.writer.arguments(delta)
