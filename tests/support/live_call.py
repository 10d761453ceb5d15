"""A call to a real node over a real socket, for tests of what goes over it: events, raw frames, raw bytes."""

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from websockets import ConnectionClosed, InvalidStatus, Subprotocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.http11 import Response

Event = dict[str, Any]

_PATIENCE = 15.0  # seconds for what takes milliseconds: two cores are shared with everything else that runs
_RATE = 24_000
_FRAME_BYTES = _RATE // 50 * 2
_MASK = b"\x01\x02\x03\x04"


class LiveCall:
    """An open call. `events` holds every event that came, in its order; `audio` what binary messages held."""

    def __init__(self, connection: ClientConnection, patience: float = _PATIENCE) -> None:
        """`patience` is how many seconds are waited for an event."""
        self.connection = connection
        self._patience = patience
        self.events: list[Event] = []
        self.audio = b""

    async def send(self, type: str, /, **fields: Any) -> None:
        """A client event."""
        await self.connection.send(json.dumps({"type": type, **fields}))

    async def send_frame(self, opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0) -> None:
        """A frame as no library would send it. `reserved` holds the bits RSV1 to RSV3."""
        await self.send_bytes(frame(opcode, payload, fin=fin, reserved=reserved))

    async def send_bytes(self, data: bytes) -> None:
        """Bytes past the WebSocket library."""
        self.connection.transport.write(data)

    async def update(self, **session: Any) -> Event:
        """Change the session; gives session.updated."""
        await self.send("session.update", session={"type": "realtime", **session})
        return await self.until("session.updated")

    async def event(self) -> Event:
        """The next event."""
        async with asyncio.timeout(self._patience):
            while isinstance(message := await self.connection.recv(), bytes):
                self.audio += message
        event: Event = json.loads(message)
        self.events.append(event)
        return event

    async def until(self, *types: str) -> Event:
        """The next event of one of these types; those before it stand in `events`."""
        while (event := await self.event())["type"] not in types:
            pass
        return event

    async def error(self) -> dict[str, Any]:
        """What the next event of type error says."""
        error: dict[str, Any] = (await self.until("error"))["error"]
        return error

    async def ask(self, text: str, **response: Any) -> str:
        """Type `text` and read the answer, in text: the quickest turn there is."""
        return answer_text(await self.turn(text, output_modalities=["text"], **response))

    async def turn(self, text: str, **response: Any) -> Event:
        """Type `text` and wait for the answer's end; gives the response as it then is."""
        await self.type(text, **response)
        return dict((await self.until("response.done"))["response"])

    async def type(self, text: str, **response: Any) -> None:
        """Type `text` and ask for an answer."""
        content = [{"type": "input_text", "text": text}]
        await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await self.send("response.create", response=response)

    async def say(self, pcm: bytes, silence: float = 1.0) -> None:
        """Speak (24 kHz PCM) as fast as the node takes it, and then be silent for so many seconds of audio."""
        audio = pcm + bytes(2 * round(silence * _RATE))
        for start in range(0, len(audio), 10 * _FRAME_BYTES):
            await self.append(audio[start : start + 10 * _FRAME_BYTES])

    async def append(self, audio: bytes) -> None:
        """Audio in whatever format the session has."""
        await self.send("input_audio_buffer.append", audio=b64encode(audio).decode())

    async def closed(self) -> int | None:
        """Wait until the node has closed the call; gives the close code."""
        async with asyncio.timeout(self._patience):
            try:
                while True:
                    self.events.append(json.loads(await self.connection.recv()))
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None

    def reset(self) -> None:
        """Vanish: the node gets a TCP reset."""
        self.connection.transport.abort()


@asynccontextmanager
async def live_call(
    url: str, *, greeted: bool = True, patience: float = _PATIENCE, **options: Any
) -> AsyncIterator[LiveCall]:
    """Call `url`; `options` are those of `websockets.connect`. With `greeted`, session.created has been read."""
    async with connect(url, **({"compression": None, "max_size": None, "close_timeout": 1.0} | options)) as connection:
        call = LiveCall(connection, patience)
        if greeted:
            assert (await call.event())["type"] == "session.created"
        yield call


async def serves(url: str, **options: Any) -> bool:
    """Whether the node at `url` serves a call, from greeting to answer."""
    async with live_call(url, **options) as call:
        return await call.ask("ping") == "You said: ping"


async def refusal(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: list[str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Response:
    """The node's HTTP response to a handshake that it refuses."""
    offered = [Subprotocol(name) for name in subprotocols] if subprotocols else None
    try:
        async with connect(url, additional_headers=headers, subprotocols=offered, ssl=tls, compression=None):
            raise AssertionError("the node took the call")
    except InvalidStatus as refused:
        return refused.response


async def exchange(url: str, data: bytes) -> bytes:
    """Send these bytes to the port of `url` and read until the node hangs up."""
    address = urlsplit(url)
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()


def handshake(url: str, **headers: str) -> bytes:
    """A handshake as a client sends it; `headers` replace its own, and an empty one is left out."""
    address = urlsplit(url)
    fields = {
        "Host": address.netloc,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"GET {address.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def frame(opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """A WebSocket frame, right or wrong, of less than 64 KiB."""
    head = bytes([fin << 7 | reserved << 4 | opcode])
    size = len(payload)
    mask_bit = masked << 7
    length = bytes([mask_bit | size]) if size < 126 else bytes([mask_bit | 126, *size.to_bytes(2)])
    if not masked:
        return head + length + payload
    return head + length + _MASK + bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(payload))


def answer_text(response: Event) -> str:
    """What a response says, written or spoken."""
    parts = [part for item in response["output"] for part in item.get("content", ())]
    return " ".join(part.get("text", part.get("transcript", "")) for part in parts)
