"""What a client may set at a place of an event: the values for the error that refuses another one, and the fields.

Pure. msgspec says where a value is wrong, and of choices not what there is to choose from; and it passes over fields
that it does not know.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from msgspec import inspect

_STEP = re.compile(r"\.([^.\[\]]+)|\[[^\]]*\]")
_PLAIN_NAME = re.compile(r"[a-z_]{1,40}")


def accepted_values(root: type, path: str) -> list[str]:
    """The values to choose from at a path such as `$.audio.input.format.rate`; none where it is no choice."""
    places = [_type_info(root)]
    for step in _STEP.finditer(path):
        places = [inner for place in places for inner in _inside(place, step[1])]
    return list(dict.fromkeys(value for place in places for value in _choices(place)))


def unknown_fields(root: type, value: dict[str, Any], most: int) -> list[str]:
    """The paths of the fields of `value` that `root` and the types in it do not have, the first `most` of them.

    They are for a log, and names are the client's: one that is more than small letters and `_` is only "?".
    """
    return list(islice(_unknown([_type_info(root)], value, ""), most))


_type_info = cache(inspect.type_info)


def _unknown(places: list[inspect.Type], value: Any, path: str) -> Iterator[str]:
    structs = [member for place in places for member in _members(place) if isinstance(member, inspect.StructType)]
    if isinstance(value, list):
        for item in value:
            yield from _unknown([inner for place in places for inner in _inside(place, None)], item, f"{path}[]")
    elif isinstance(value, dict) and structs:
        for name, inner in value.items():
            below = [found for struct in structs for found in _inside(struct, name)]
            here = f"{path}.{name if _PLAIN_NAME.fullmatch(name) else '?'}".removeprefix(".")
            if below:
                yield from _unknown(below, inner, here)
            else:
                yield here


def _members(place: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(place, inspect.UnionType):
        for member in place.types:
            yield from _members(member)
    elif isinstance(place, inspect.Metadata):
        yield from _members(place.type)
    else:
        yield place


def _inside(place: inspect.Type, field: str | None) -> Iterator[inspect.Type]:
    """What lies one step deeper: in a field, else in a list's item. The tag of a union is a field of its members."""
    for member in _members(place):
        if isinstance(member, inspect.StructType) and field is not None:
            if field == member.tag_field:
                yield inspect.LiteralType(values=(str(member.tag),))
            yield from (known.type for known in member.fields if known.encode_name == field)
        elif isinstance(member, inspect.ListType) and field is None:
            yield member.item_type


def _choices(place: inspect.Type) -> Iterator[str]:
    for member in _members(place):
        match member:
            case inspect.LiteralType(values=values):
                yield from map(repr, values)
            case inspect.StructType(tag_field=str(field), tag=tag):
                yield f"an object of {field} {str(tag)!r}"
            case inspect.StructType():
                yield "an object"
            case inspect.IntType(ge=int(least), le=int(most)) | inspect.FloatType(ge=float(least), le=float(most)):
                yield f"a number from {least:g} to {most:g}"
