"""Reading a Twilio stream's messages, or saying what is wrong with them. Pure."""

import re

import msgspec

from server.dialects.dialect import ClientAtFault
from server.dialects.twilio.messages import TwilioMessage, decode

_QUOTED = re.compile(r" '.*'", re.DOTALL)  # what the caller pressed is in no log


def read(message: str | bytes) -> TwilioMessage | None:
    """The message; None for one of an unknown event. Raises `ClientAtFault`."""
    if isinstance(message, bytes):
        raise ClientAtFault("binary_message", 1003, "got a binary message; a Twilio stream is JSON text")
    try:
        return decode(message)
    except msgspec.ValidationError as error:
        wrong = _QUOTED.sub("", str(error))
        raise ClientAtFault("invalid_message", 1007, f"not a message of Twilio Media Streams: {wrong}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ClientAtFault("invalid_message", 1007, "the message is not JSON") from None


def out_of_order(message: TwilioMessage, takes: str) -> ClientAtFault:
    """The message came where the protocol has another one."""
    return ClientAtFault("out_of_order", 1002, f"got {message.__struct_config__.tag!r}; takes {takes}")
