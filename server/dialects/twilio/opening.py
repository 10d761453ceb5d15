"""How a Twilio stream begins: `connected`, then `start`, and nothing else. Pure."""

from server.dialects.dialect import ClientAtFault
from server.dialects.twilio.faults import out_of_order, read
from server.dialects.twilio.messages import Connected, MediaFormat, Start, StreamDetails

_FORMAT = MediaFormat("audio/x-mulaw", 8000, 1)


class Opening:
    """Takes a stream's messages until it has started."""

    def __init__(self) -> None:
        self._connected = False

    def receive(self, message: str | bytes) -> StreamDetails | None:
        """What the stream is of, once it is known. Raises `ClientAtFault`."""
        match read(message):
            case None:
                return None
            case Connected() if not self._connected:
                self._connected = True
                return None
            case Start(details, stream_sid) if self._connected:
                if details.media_format != _FORMAT:
                    raise ClientAtFault(
                        "media_format",
                        1003,
                        "start.mediaFormat: takes audio/x-mulaw, sampleRate 8000, 1 channel",
                    )
                if stream_sid != details.stream_sid:
                    raise ClientAtFault("invalid_message", 1007, "start: streamSid and start.streamSid differ")
                return details
            case other:
                takes = "'start'" if self._connected else "'connected'"
                raise out_of_order(other, f"{takes} before any other message")
