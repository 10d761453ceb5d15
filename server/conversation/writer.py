"""Writes one response into the conversation, event by event, in the only legal order.

Pure. First response.created; then each item: added (to the response, to the conversation), its part added, deltas, its
part done, done (to the response, to the conversation); at last response.done. Whatever ends a response, what it had
opened is closed first. Source: the order of OpenAI Realtime's GA events, on which its clients depend.
"""

from collections.abc import Callable, Iterator

from server.conversation.events import (
    ArgumentsDelta,
    ArgumentsDone,
    Event,
    ItemAdded,
    ItemDone,
    OutputItemAdded,
    OutputItemDone,
    PartAdded,
    PartDone,
    Place,
    ResponseCreated,
    ResponseDone,
    TextDelta,
)
from server.conversation.history import FunctionCall, History, ItemStatus, Message, Part, PartKind, snapshot
from server.conversation.response import EndReason, Failure, Response, ResponseStatus
from server.llm.interface import Usage


class ResponseWriter:
    """The state of a response that is being given. Events carry copies: what they tell stays as it was then.

    `history` is where its items go; None for a response outside the conversation.
    """

    def __init__(self, response: Response, history: History | None, new_id: Callable[[str], str]) -> None:
        self.response = response
        self._history = history
        self._new_id = new_id
        self._open: Message | FunctionCall | None = None
        self._sent = ""  # of the open message; the item itself may be cut meanwhile

    @property
    def message(self) -> Message | None:
        """The message that is being spoken or written now."""
        return self._open if isinstance(self._open, Message) else None

    @property
    def place(self) -> Place:
        """Where the next delta belongs; only while an item is open."""
        return Place(self.response.id, self.response.output[-1].id, len(self.response.output) - 1)

    def start(self) -> Iterator[Event]:
        """The response begins."""
        yield ResponseCreated(self.response.snapshot())

    def write(self, text: str) -> Iterator[Event]:
        """More text: written, or the words of the audio that is about to follow."""
        message = self.message
        if message is None:
            yield from self._close("completed")
            kind: PartKind = "output_audio" if self.response.config.modality == "audio" else "output_text"
            message = Message(self._new_id("item"), "assistant", [], "in_progress")
            yield from self._add(message)
            message.parts.append(Part(kind, ""))
            self._sent = ""
            yield PartAdded(self.place, kind)
        part = message.parts[0]
        # Clauses arrive without the space that stood between them; written text arrives as the model wrote it.
        delta = f" {text}" if self._sent and part.kind == "output_audio" else text
        self._sent += delta
        part.text = (part.text or "") + delta
        yield TextDelta(self.place, part.kind, delta)

    def call(self, call_id: str, name: str) -> Iterator[Event]:
        """A function call begins."""
        yield from self._close("completed")
        yield from self._add(FunctionCall(self._new_id("item"), call_id, name, status="in_progress"))

    def arguments(self, delta: str) -> Iterator[Event]:
        """More of the arguments of the function call that was begun last."""
        call = self._open
        assert isinstance(call, FunctionCall), "arguments follow the call that they belong to"
        call.arguments += delta
        yield ArgumentsDelta(self.place, call.call_id, delta)

    def break_off(self) -> Iterator[Event]:
        """What is open ends unfinished."""
        yield from self._close("incomplete")

    def finish(
        self, status: ResponseStatus, usage: Usage, reason: EndReason | None = None, failure: Failure | None = None
    ) -> Iterator[Event]:
        """The response ends, well or not."""
        yield from self._close("completed" if status == "completed" else "incomplete")
        self.response.status = status
        self.response.reason = reason
        self.response.failure = failure
        self.response.usage = usage
        yield ResponseDone(self.response.snapshot())

    def _add(self, item: Message | FunctionCall) -> Iterator[Event]:
        self._open = item
        self.response.output.append(item)
        yield OutputItemAdded(self.place, snapshot(item))
        if self._history is not None:
            previous = self._history.insert(item)
            yield ItemAdded(snapshot(item), previous)

    def _close(self, status: ItemStatus) -> Iterator[Event]:
        item = self._open
        if item is None:
            return
        place = self.place
        self._open = None
        if isinstance(item, Message):
            yield PartDone(place, item.parts[0].kind, self._sent)
        else:
            item.arguments = item.arguments or "{}"  # clients parse it; an empty string is no JSON
            yield ArgumentsDone(place, item.call_id, item.name, item.arguments)
        item.status = status
        yield OutputItemDone(place, snapshot(item))
        # A client may have deleted the item while it was being spoken.
        if self._history is not None and item.id in self._history:
            self._history.measure(item)
            yield ItemDone(snapshot(item), self._history.previous_id(item.id))
