"""Conversation items in the words of the OpenAI Realtime API, to and from our own."""

from server.conversation.errors import ConversationError
from server.conversation.history import FunctionCall, FunctionCallOutput, Item, Message, Part, PartKind
from server.dialects.openai import server_objects as o
from server.dialects.openai.client_events import ContentPart, FunctionCallItem, MessageItem, WireItem
from server.dialects.openai.images import read_image

_PARTS_OF_ROLE: dict[str, tuple[PartKind, ...]] = {
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text", "output_audio"),
    "system": ("input_text",),
}
# Names from before GA that clients still send.
_OLD_NAMES: dict[str, PartKind] = {"text": "output_text", "audio": "output_audio"}


class UnsupportedContent(ConversationError):
    """A message's part is of a kind that its role can't have, or lacks what its kind needs."""


def read_item(wire: WireItem, new_id: str, param: str) -> tuple[Item, bytes]:
    """Our item for a client's, and the audio (in the session's input format) whose words it lacks.

    `param` is the item's path in the client's event. Raises `UnsupportedContent` or `UnsupportedImage`.
    """
    item_id = wire.id or new_id
    match wire:
        case MessageItem():
            parts = [
                _read_part(part, wire.role, f"{param}.content[{index}]") for index, part in enumerate(wire.content)
            ]
            unheard = [given.audio or b"" for given, part in zip(wire.content, parts, strict=True) if part.text is None]
            if len(unheard) > 1:
                raise UnsupportedContent(
                    "a message takes one input_audio part without a transcript", f"{param}.content"
                )
            return Message(item_id, wire.role, parts), b"".join(unheard)
        case FunctionCallItem():
            return FunctionCall(item_id, wire.call_id or item_id, wire.name, wire.arguments), b""
        case _:
            return FunctionCallOutput(item_id, wire.call_id, wire.output), b""


def _read_part(part: ContentPart, role: str, param: str) -> Part:
    kind = _OLD_NAMES.get(part.type, part.type)
    accepted = _PARTS_OF_ROLE[role]
    if kind not in accepted:
        raise UnsupportedContent(
            f"a {role} message has no part of type {part.type!r}; it takes {' or '.join(accepted)}", f"{param}.type"
        )
    kind = accepted[accepted.index(kind)]
    if kind == "input_image":
        return Part(kind, "", read_image(part.image_url, part.detail, f"{param}.image_url"))
    text = part.transcript if kind.endswith("audio") else part.text
    if text is None and not (kind == "input_audio" and part.audio):
        needed = {"input_audio": "audio or transcript", "output_audio": "transcript"}.get(kind, "text")
        raise UnsupportedContent(f"a part of type {part.type!r} takes {needed}", param)
    return Part(kind, text)


def write_item(item: Item) -> o.Item:
    """A client's item for ours."""
    match item:
        case Message():
            content = [_write_part(part) for part in item.parts]
            return o.Message(id=item.id, status=item.status, role=item.role, content=content)
        case FunctionCall():
            arguments = item.arguments or ("" if item.status == "in_progress" else "{}")
            return o.FunctionCall(
                id=item.id, status=item.status, call_id=item.call_id, name=item.name, arguments=arguments
            )
        case FunctionCallOutput():
            return o.FunctionCallOutput(id=item.id, status=item.status, call_id=item.call_id, output=item.output)


def _write_part(part: Part) -> o.Content:
    if part.image:
        return o.Content(part.kind, image_url=part.image.url, detail=part.image.detail)
    if part.kind.endswith("audio"):
        return o.Content(part.kind, transcript=part.text)
    return o.Content(part.kind, text=part.text)
