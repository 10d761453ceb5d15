"""The page of every event, from the AsyncAPI document."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from server.docs import MADE, table

_INTRODUCTION = """What is said on a call's WebSocket, event by event, as in [asyncapi.yaml](asyncapi.yaml) (AsyncAPI
3.0, for your generator). [protocol.md](protocol.md) says what they mean to one another, and where this server differs
from the hosted service.
"""
_SENT_BY = {"receive": "From the client", "send": "From the server"}


def events_page(document: Mapping[str, Any]) -> str:
    """The page: each event with its meaning, its fields and an example, then the objects in them."""
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    parts = [f"# Events\n\n{MADE}\n{_INTRODUCTION}"]
    for name, channel in document["channels"].items():
        parts.append(f"## {channel['title']}: `{channel['address']}`\n")
        for operation in document["operations"].values():
            if operation["channel"]["$ref"] == f"#/channels/{name}":
                parts.append(f"### {_SENT_BY[operation['action']]}\n")
                ids = [reference["$ref"].rpartition("/")[2] for reference in operation["messages"]]
                parts += [_event(messages[each], schemas) for each in ids]
    events = {_name(message["payload"]) for message in messages.values()}
    parts.append("## Objects\n")
    parts += [_object(name, schema) for name, schema in schemas.items() if name not in events]
    return "\n".join(parts)


def _event(message: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    schema = schemas[_name(message["payload"])]
    shown = json.dumps(message["examples"][0]["payload"], indent=2, ensure_ascii=False)
    return f"#### `{message['name']}`\n\n{message['summary']}\n\n{_fields(schema)}```json\n{shown}\n```\n"


def _object(name: str, schema: Mapping[str, Any]) -> str:
    return f"### {name}\n\n{schema.get('description', '')}\n\n{_fields(schema)}"


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", _type(field), "yes" if name in required else "", _default(field))
        for name, field in schema.get("properties", {}).items()
        if len(field.get("enum", ("any", "value"))) > 1
    ]
    return table(("Field", "Type", "Required", "Default"), rows) + "\n" if rows else ""


def _default(field: Mapping[str, Any]) -> str:
    return f"`{json.dumps(field['default'])}`" if field.get("default") not in (None, "", {}) else ""


def _type(field: Mapping[str, Any]) -> str:
    return " or ".join(_types(field)) or "anything"


def _types(field: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in field:
        yield f"[{_name(field)}](#{_name(field).lower()})"
    for kind in ("anyOf", "oneOf", "allOf"):
        for each in field.get(kind, ()):
            yield from _types(each)
    if "enum" in field:
        yield from (f"`{json.dumps(value)}`" for value in field["enum"])
    elif field.get("type") == "array":
        yield f"array of {_type(field.get('items', {}))}"
    elif field.get("contentEncoding"):
        yield "base64"
    elif "type" in field and "allOf" not in field:
        yield field["type"] + _range(field)


def _range(field: Mapping[str, Any]) -> str:
    least, most = field.get("minimum", field.get("minLength")), field.get("maximum", field.get("maxLength"))
    if least is None and most is None:
        return ""
    return f" from {least or 0:g}" + ("" if most is None else f" to {most:g}")


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"].rpartition("/")[2])
