"""How a caller's audio goes over the wire: in which format, and whether as binary messages or as base64 in events.

Pure.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from server.audio import Samples
from server.audio.formats import AudioFormat, Decoder


@dataclass(frozen=True, slots=True)
class Wire:
    """`format` is that of both directions, by default 24 kHz PCM."""

    format: AudioFormat = AudioFormat.of("audio/pcm")  # noqa: RUF009  # it is frozen
    binary: bool = False

    def address(self, url: str) -> str:
        """`url` as such a call is placed to it. Raises `ValueError` for an address that is none."""
        if not self.binary:
            return url
        address = urlsplit(url)
        return address._replace(query=urlencode(dict(parse_qsl(address.query)) | {"audio": "binary"})).geturl()

    @property
    def audio(self) -> dict[str, dict[str, Any]]:
        """The session's `audio`."""
        wanted = {"type": self.format.type} | ({"rate": self.format.rate} if self.format.type == "audio/pcm" else {})
        return {"input": {"format": wanted}, "output": {"format": wanted}}

    def message(self, audio: bytes) -> str | bytes:
        """The message that holds the caller's next audio."""
        if self.binary:
            return audio
        return f'{{"type":"input_audio_buffer.append","audio":"{b64encode(audio).decode()}"}}'

    def samples(self, audio: bytes) -> Samples:
        """An answer's audio, at the format's rate."""
        return Decoder(self.format, self.format.rate).decode(audio)


BASE64 = Wire()
