"""The items of a conversation, in order, as the client and the language model both see them.

Pure, and the only place where history is kept. An assistant's message holds what the caller heard, not what the model
wrote.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from server.conversation.errors import DuplicateItem, ItemNotFound
from server.llm.interface import AssistantText, ChatMessage, SystemText, ToolCall, ToolResult, UserText

Role = Literal["user", "assistant", "system"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
PartKind = Literal["input_text", "input_audio", "output_text", "output_audio"]

# The place before the first item, in OpenAI Realtime's words.
ROOT = "root"


@dataclass(slots=True)
class Part:
    """One part of a message. `text` is what was typed, said or heard; None while a transcript is awaited."""

    kind: PartKind
    text: str | None = None


@dataclass(slots=True)
class Message:
    """Something said or typed by the caller, the assistant or the application (system)."""

    id: str
    role: Role
    parts: list[Part] = field(default_factory=list)
    status: ItemStatus = "completed"

    @property
    def text(self) -> str:
        """All that is known of what the message says."""
        return " ".join(part.text for part in self.parts if part.text)


@dataclass(slots=True)
class FunctionCall:
    """The model asks the application to run a function; `arguments` is JSON text."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: ItemStatus = "completed"


@dataclass(slots=True)
class FunctionCallOutput:
    """What the application's function gave back."""

    id: str
    call_id: str
    output: str
    status: ItemStatus = "completed"


_SAID_BY: dict[Role, Callable[[str], UserText | AssistantText | SystemText]] = {
    "user": UserText,
    "assistant": AssistantText,
    "system": SystemText,
}

Item = Message | FunctionCall | FunctionCallOutput


class History:
    """An ordered row of items with unique ids."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __contains__(self, item_id: str) -> bool:
        return any(item.id == item_id for item in self._items)

    def get(self, item_id: str) -> Item:
        """The item of that id. Raises `ItemNotFound`."""
        return self._items[self._index(item_id)]

    def insert(self, item: Item, after: str | None = None) -> str | None:
        """Place `item` after the item `after` (None: at the end, `ROOT`: first) and return its predecessor's id.

        Raises `DuplicateItem` or `ItemNotFound`.
        """
        if item.id in self:
            raise DuplicateItem(item.id)
        index = (
            len(self._items) if after is None else 0 if after == ROOT else self._index(after, "previous_item_id") + 1
        )
        self._items.insert(index, item)
        return self._items[index - 1].id if index else None

    def previous_id(self, item_id: str) -> str | None:
        """Id of the item before `item_id`. Raises `ItemNotFound`."""
        index = self._index(item_id)
        return self._items[index - 1].id if index else None

    def delete(self, item_id: str) -> None:
        """Raises `ItemNotFound`."""
        del self._items[self._index(item_id)]

    def _index(self, item_id: str, param: str = "item_id") -> int:
        for index in range(len(self._items) - 1, -1, -1):  # what is asked for is nearly always recent
            if self._items[index].id == item_id:
                return index
        raise ItemNotFound(item_id, param)


def chat_messages(items: Iterable[Item]) -> list[ChatMessage]:
    """The items as a language model takes them; what has no words yet, or never had any, is left out."""
    messages = (chat_message(item) for item in items)
    return [message for message in messages if message is not None]


def chat_message(item: Item) -> ChatMessage | None:
    """The item as a language model takes it; None for what has no words."""
    match item:
        case Message(role=role) if text := item.text:
            return _SAID_BY[role](text)
        case FunctionCall(status="completed"):
            return ToolCall(item.call_id, item.name, item.arguments or "{}")
        case FunctionCallOutput():
            return ToolResult(item.call_id, item.output)
        case _:
            return None
