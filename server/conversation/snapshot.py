"""A conversation as data: what another node has to know to go on with it, in a form that is written and read again.

Pure. It holds no audio. Of what is still under way it has what the caller has been told: a turn whose words are not
known yet and a function call whose arguments are not complete are left out.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, json
from msgspec.structs import replace

from server.conversation.history import (
    FunctionCall,
    FunctionCallOutput,
    Item,
    ItemStatus,
    Message,
    Part,
    PartKind,
    Role,
    chat_message,
)
from server.llm.interface import Usage
from server.llm.shortening import left_out

# An image is many times what the rest of a call is, and would be sealed and sent again with every ticket.
_GONE = "(An image was shown here, and is not at hand any more.)"


class SavedMessage(Struct, frozen=True, array_like=True, tag="message"):
    """A `Message`; of its parts the kind and the text, which of an image only says that there was one."""

    id: str
    status: ItemStatus
    role: Role
    parts: tuple[tuple[PartKind, str], ...]


class SavedCall(Struct, frozen=True, array_like=True, tag="call"):
    """A `FunctionCall`."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


class SavedOutput(Struct, frozen=True, array_like=True, tag="output"):
    """A `FunctionCallOutput`."""

    id: str
    status: ItemStatus
    call_id: str
    output: str


SavedItem = SavedMessage | SavedCall | SavedOutput


class Speech(Struct, frozen=True, array_like=True):
    """A spoken item: its clauses, each with the seconds that it takes to say, and the seconds that were `heard`."""

    item_id: str
    clauses: tuple[tuple[str, float], ...]
    heard: float


Answering = Literal["no", "due", "begun"]


class Snapshot(Struct, frozen=True, array_like=True):
    """A conversation as it stood.

    `speech` is of the items that the client may not have played to their end; `answering` is whether the caller
    is owed an answer, or the rest of one that was begun; `usage` is that of all answers.
    """

    items: tuple[SavedItem, ...] = ()
    speech: tuple[Speech, ...] = ()
    usage: Usage = Usage()
    answering: Answering = "no"

    def shortened(self, surplus: float) -> "Snapshot":
        """Without its oldest items, until those make up `surplus` bytes of JSON; `left_out` says what has to stay."""
        shown = [(item, message) for item in self.items if (message := chat_message(restored(item)))]
        sizes = {id(message): len(json.encode(item)) for item, message in shown}
        gone = left_out([message for _, message in shown], surplus, lambda message: sizes[id(message)])
        ids = {shown[index][0].id for index in gone}
        return replace(
            self,
            items=tuple(item for item in self.items if item.id not in ids),
            speech=tuple(speech for speech in self.speech if speech.item_id not in ids),
        )


def saved_items(items: Iterable[Item]) -> tuple[SavedItem, ...]:
    """The items, but for those that are not known whole."""
    return tuple(each for item in items if (each := _saved(item)) is not None)


def _saved(item: Item) -> SavedItem | None:
    match item:
        case Message():
            texts = ((part.kind, _GONE if part.image else part.text) for part in item.parts)
            parts = tuple((kind, text) for kind, text in texts if text is not None)
            return SavedMessage(item.id, item.status, item.role, parts) if len(parts) == len(item.parts) else None
        case FunctionCall(status="in_progress"):
            return None
        case FunctionCall():
            return SavedCall(item.id, item.status, item.call_id, item.name, item.arguments)
        case _:
            return SavedOutput(item.id, item.status, item.call_id, item.output)


def restored(item: SavedItem) -> Item:
    """The item as it was."""
    match item:
        case SavedMessage():
            return Message(item.id, item.role, [Part(kind, text) for kind, text in item.parts], item.status)
        case SavedCall():
            return FunctionCall(item.id, item.call_id, item.name, item.arguments, item.status)
        case _:
            return FunctionCallOutput(item.id, item.call_id, item.output, item.status)
