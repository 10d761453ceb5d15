"""A WebSocket message on its way to a client."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WireMessage:
    """`data` is UTF-8 in a text message, and whatever it is in a `binary` one."""

    data: bytes
    binary: bool = False
