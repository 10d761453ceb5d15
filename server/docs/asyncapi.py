"""The events of every dialect as an AsyncAPI 3.0 document, from the types that read and write them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Literal, get_args

import msgspec
import yaml

from server.dialects.openai.client_events import ClientEvent, ResponseParams
from server.dialects.openai.server_events import SERVER_EVENTS
from server.dialects.openai.session import Session, TranscriptionSession
from server.dialects.twilio.messages import ServerMessage, TwilioMessage
from server.docs.examples import example

Direction = Literal["client", "server"]
_SCHEMAS = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One channel: its events by who sends them, and types that these name without holding them."""

    name: str
    address: str
    title: str
    client: Sequence[type]
    server: Sequence[type]
    named: Sequence[type] = ()

    def events(self) -> Iterator[tuple[Direction, type]]:
        """All of them, the client's first."""
        yield from (("client", kind) for kind in self.client)
        yield from (("server", kind) for kind in self.server)


DIALECTS = (
    Dialect(
        "realtime",
        "/v1/realtime",
        "OpenAI Realtime API (GA)",
        get_args(ClientEvent),
        SERVER_EVENTS,
        (Session, TranscriptionSession, ResponseParams),
    ),
    Dialect("twilio", "/twilio", "Twilio Media Streams", get_args(TwilioMessage), get_args(ServerMessage)),
)


def tag_of(kind: type) -> str:
    """What tells the events of a type from others on the wire."""
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]  # of msgspec's structs


def document() -> dict[str, Any]:
    """The whole document. The application that it describes is the server: it receives what a client sends."""
    kinds = [kind for dialect in DIALECTS for _, kind in dialect.events()]
    named = [kind for dialect in DIALECTS for kind in dialect.named]
    refs, schemas = msgspec.json.schema_components([*kinds, *named], ref_template=_SCHEMAS + "{name}")
    payloads = dict(zip(kinds, refs, strict=False))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Voicefleet",
            "version": "1",
            "description": "What is said on a call's WebSocket. Made by `make docs` from the types of the code; "
            "docs/protocol.md says what the events mean to one another.",
        },
        "defaultContentType": "application/json",
        "channels": {dialect.name: _channel(dialect) for dialect in DIALECTS},
        "operations": {
            f"{dialect.name}.{direction}": _operation(dialect, direction)
            for dialect in DIALECTS
            for direction in get_args(Direction)
        },
        "components": {
            "messages": {
                _message_id(dialect, direction, kind): _message(kind, payloads[kind])
                for dialect in DIALECTS
                for direction, kind in dialect.events()
            },
            "schemas": {name: _plain(schema) for name, schema in schemas.items()},
        },
    }


def as_yaml(made: dict[str, Any]) -> str:
    """The document as it is committed."""
    return str(yaml.dump(made, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True))


class _Dumper(yaml.SafeDumper):
    """Says twice what is there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _plain(part: Any) -> Any:
    """A schema without OpenAPI's discriminators, which AsyncAPI writes in another way and can do without."""
    if isinstance(part, list):
        return [_plain(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    return {
        name: cleandoc(inner) if name == "description" and isinstance(inner, str) else _plain(inner)
        for name, inner in part.items()
        if name != "discriminator"
    }


def _message_id(dialect: Dialect, direction: Direction, kind: type) -> str:
    return f"{dialect.name}.{direction}.{tag_of(kind)}"


def _channel(dialect: Dialect) -> dict[str, Any]:
    ids = [_message_id(dialect, direction, kind) for direction, kind in dialect.events()]
    messages = {each: {"$ref": f"#/components/messages/{each}"} for each in ids}
    return {"address": dialect.address, "title": dialect.title, "messages": messages}


def _operation(dialect: Dialect, direction: Direction) -> dict[str, Any]:
    channel = f"#/channels/{dialect.name}"
    ids = [_message_id(dialect, side, kind) for side, kind in dialect.events() if side == direction]
    return {
        "action": "receive" if direction == "client" else "send",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{each}"} for each in ids],
    }


def _message(kind: type, payload: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": tag_of(kind),
        "summary": cleandoc(kind.__doc__ or "").partition("\n\n")[0],
        "payload": payload,
        "examples": [{"payload": example(kind)}],
    }
