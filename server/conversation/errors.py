"""What a client can ask of a conversation that the conversation can't do, as typed errors.

`code` is OpenAI Realtime's word for it; every dialect tells the client in its own form.
"""

from server.errors import VoicefleetError


class ConversationError(VoicefleetError):
    """A client's request that can't be met; the conversation goes on as if it had not been made."""

    code = "invalid_value"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ItemNotFound(ConversationError):
    """No item has that id."""

    code = "item_not_found"

    def __init__(self, item_id: str, param: str = "item_id") -> None:
        super().__init__(f"no item {item_id!r} in this conversation", param)


class DuplicateItem(ConversationError):
    """An item's id is taken."""

    code = "item_already_exists"

    def __init__(self, item_id: str) -> None:
        super().__init__(f"an item {item_id!r} is in this conversation already; ids are unique", "item.id")


class NotTruncatable(ConversationError):
    """Only what the assistant said aloud can be cut."""

    code = "invalid_value"


class BufferTooShort(ConversationError):
    """There is too little audio to commit."""

    code = "input_audio_buffer_commit_empty"

    def __init__(self, seconds: float, least: float) -> None:
        super().__init__(
            f"the input audio buffer holds {seconds * 1000:.0f} ms; a commit takes at least {least * 1000:.0f} ms"
        )


class ResponseActive(ConversationError):
    """One answer at a time."""

    code = "conversation_already_has_active_response"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"response {response_id!r} is in progress; wait for its response.done or cancel it first")


class NoActiveResponse(ConversationError):
    """There is nothing to cancel."""

    code = "response_cancel_not_active"

    def __init__(self, response_id: str | None) -> None:
        which = f"response {response_id!r} is not in progress" if response_id else "no response is in progress"
        # LiveKit Agents knows this error, which is benign to it, by the message's first two words.
        super().__init__(f"Cancellation failed: {which}", "response_id" if response_id else None)
