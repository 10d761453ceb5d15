"""The items of a conversation, in order, as the client and the language model both see them.

Pure, and the only place where history is kept. An assistant's message holds what the caller heard, not what the model
wrote. Whatever is done to one item costs the same in a long conversation as in a short one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from server.conversation.errors import DuplicateItem, ItemNotFound
from server.limits import Limits
from server.llm.interface import AssistantText, ChatMessage, Image, SystemText, ToolCall, ToolResult, UserText

Role = Literal["user", "assistant", "system"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
PartKind = Literal["input_text", "input_audio", "input_image", "output_text", "output_audio"]

# The place before the first item, in OpenAI Realtime's words.
ROOT = "root"


@dataclass(slots=True)
class Part:
    """One part of a message. `text` is what was typed, said or heard; None while a transcript is awaited.

    That of an `image` is empty, or says that there was one.
    """

    kind: PartKind
    text: str | None = None
    image: Image | None = None


@dataclass(slots=True)
class Message:
    """Something said or typed by the caller, the assistant or the application (system)."""

    id: str
    role: Role
    parts: list[Part] = field(default_factory=list)
    status: ItemStatus = "completed"

    @property
    def images(self) -> tuple[Image, ...]:
        """All that the message shows."""
        return tuple(part.image for part in self.parts if part.image)

    @property
    def text(self) -> str:
        """All that is known of what the message says."""
        if len(self.parts) == 1:
            return self.parts[0].text or ""
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


Item = Message | FunctionCall | FunctionCallOutput


def text_bytes(item: Item) -> int:
    """What the item holds of text, in bytes of UTF-8, and of images: all that was written into it."""
    images = 0
    match item:
        case Message():
            texts = [item.id, *(part.text or "" for part in item.parts)]
            images = sum(len(image.data) for image in item.images)
        case FunctionCall():
            texts = [item.id, item.call_id, item.name, item.arguments]
        case _:
            texts = [item.id, item.call_id, item.output]
    return images + sum(len(text) if text.isascii() else len(text.encode(errors="replace")) for text in texts)


def snapshot(item: Item) -> Item:
    """The item as it stands now, which later changes do not reach."""
    return replace(item, parts=[replace(part) for part in item.parts]) if isinstance(item, Message) else replace(item)


class History:
    """An ordered row of items with unique ids: a ring of links, in which None stands between the last and the first."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._before: dict[str | None, str | None] = {None: None}
        self._after: dict[str | None, str | None] = {None: None}
        self._bytes: dict[str, int] = {}
        self.text_bytes = 0
        """Of all items together, in bytes of UTF-8."""

    def __iter__(self) -> Iterator[Item]:
        item_id = self._after[None]
        while item_id is not None:
            yield self._items[item_id]
            item_id = self._after[item_id]

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._items

    def get(self, item_id: str) -> Item:
        """The item of that id. Raises `ItemNotFound`."""
        self._check(item_id)
        return self._items[item_id]

    def insert(self, item: Item, after: str | None = None) -> str | None:
        """Place `item` after the item `after` (None: at the end, `ROOT`: first) and return its predecessor's id.

        Raises `DuplicateItem` or `ItemNotFound`.
        """
        if item.id in self:
            raise DuplicateItem(item.id)
        if after is not None and after != ROOT:
            self._check(after, "previous_item_id")
        before = self._before[None] if after is None else None if after == ROOT else after
        behind = self._after[before]
        self._items[item.id] = item
        self._link(before, item.id)
        self._link(item.id, behind)
        self.measure(item)
        return before

    def latest(self, role: Role) -> str:
        """What was said last by `role`; empty if nothing was."""
        item_id = self._before[None]
        while item_id is not None:
            item = self._items[item_id]
            if isinstance(item, Message) and item.role == role:
                return item.text
            item_id = self._before[item_id]
        return ""

    def ends_with(self, role: Role) -> bool:
        """Whether the last item is a message of `role`."""
        last = self._items.get(self._before[None] or "")
        return isinstance(last, Message) and last.role == role

    def after(self, item_id: str) -> Iterator[Item]:
        """The items behind `item_id`. Raises `ItemNotFound`."""
        self._check(item_id)
        behind = self._after[item_id]
        while behind is not None:
            yield self._items[behind]
            behind = self._after[behind]

    def measure(self, item: Item) -> None:
        """Take note that the item, if it is here, says something else than before."""
        if item.id in self._items:
            now = text_bytes(item)
            self.text_bytes += now - self._bytes.get(item.id, 0)
            self._bytes[item.id] = now

    def check_items(self, limits: Limits) -> None:
        """Raises `LimitExceeded` where there is no room for one more."""
        items = len(self) + 1
        limits.check("max_items", items, f"a conversation of {items:,} items")

    def check_bytes(self, limits: Limits, more: int) -> None:
        """Raises `LimitExceeded` where there is no room for so many more bytes of text."""
        size = self.text_bytes + more
        limits.check("max_conversation_bytes", size, f"a conversation of {size:,} bytes of text")

    def previous_id(self, item_id: str) -> str | None:
        """Id of the item before `item_id`. Raises `ItemNotFound`."""
        self._check(item_id)
        return self._before[item_id]

    def delete(self, item_id: str) -> None:
        """Raises `ItemNotFound`."""
        self._check(item_id)
        del self._items[item_id]
        self.text_bytes -= self._bytes.pop(item_id)
        self._link(self._before.pop(item_id), self._after.pop(item_id))

    def _link(self, before: str | None, after: str | None) -> None:
        self._after[before], self._before[after] = after, before

    def _check(self, item_id: str, param: str = "item_id") -> None:
        if item_id not in self._items:
            raise ItemNotFound(item_id, param)


def chat_messages(items: Iterable[Item]) -> list[ChatMessage]:
    """The items as a language model takes them; what has no words yet, or never had any, is left out."""
    messages = (chat_message(item) for item in items)
    return [message for message in messages if message is not None]


def chat_message(item: Item) -> ChatMessage | None:
    """The item as a language model takes it; None for what has no words."""
    match item:
        case Message(role="user") if item.text or item.images:
            return UserText(item.text, item.images)
        case Message(role="assistant") if text := item.text:
            return AssistantText(text)
        case Message(role="system") if text := item.text:
            return SystemText(text)
        case FunctionCall(status="completed"):
            return ToolCall(item.call_id, item.name, item.arguments or "{}")
        case FunctionCallOutput():
            return ToolResult(item.call_id, item.output)
        case _:
            return None
