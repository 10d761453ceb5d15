"""What is wrong with a client's message, in words that name it and what is accepted. Pure."""

from typing import Any

import msgspec

from server.dialects.accepted import accepted_values, unknown_fields
from server.dialects.dialect import FieldsIgnored
from server.dialects.openai.client_events import CLIENT_EVENT_TYPES
from server.errors import VoicefleetError

_MAX_IGNORED = 8


class ClientError(VoicefleetError):
    """A client's message that can't be acted on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


def ignored(known: type, given: dict[str, Any]) -> list[FieldsIgnored]:
    """The fields of `given` that `known` has not, for the log."""
    names = unknown_fields(known, given, _MAX_IGNORED)
    if given.get("prompt") is not None:
        names.insert(0, "prompt")  # one that the hosted service keeps; agents-realtime sends its own with it
    return [FieldsIgnored(tuple(names[:_MAX_IGNORED]))] if names else []


def explain(error: msgspec.ValidationError, event_type: str | None, root: type, prefix: str = "") -> ClientError:
    """msgspec says what it expected and where; the client is told both, and never its own data.

    `root` is the type that was expected, `prefix` its place in the event.
    """
    if event_type not in CLIENT_EVENT_TYPES:
        accepted = ", ".join(CLIENT_EVENT_TYPES)
        got = "no type" if event_type is None else f"unknown type {event_type[:64]!r}"
        return ClientError("unknown_event", f"got an event of {got}; takes {accepted}", "type")
    message, _, path = str(error).partition(" - at ")
    path = path.strip("`")
    choices = accepted_values(root, path)
    takes = f"; takes {' or '.join(choices)}" if choices else ""
    param = prefix + path.removeprefix("$").removeprefix(".")
    return ClientError("invalid_value", f"{event_type}: {message}{takes}", param or None)
