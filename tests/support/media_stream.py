"""A caller on a Twilio Media Stream, for programs that answer one."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from server.audio.g711 import decode_ulaw, encode_ulaw
from tests.support.paced_caller import PacedCaller

_RATE = 8_000
_DETAILS = {
    "streamSid": "MZ1",
    "callSid": "CA1",
    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": _RATE, "channels": 1},
}


class MediaStream(PacedCaller):
    """The caller on the stream."""

    def __init__(self, connection: ClientConnection) -> None:
        super().__init__(_RATE)
        self._connection = connection

    async def send(self, pcm: bytes) -> None:
        payload = b64encode(encode_ulaw(np.frombuffer(pcm, "<i2"))).decode()
        await self._send("media", media={"track": "inbound", "payload": payload})

    async def talk(self) -> None:
        """Hold the call until the other side hangs up."""
        await self._send("connected", protocol="Call", version="1.0.0")
        await self._send("start", start=_DETAILS)
        async with asyncio.TaskGroup() as tasks:
            pacing = tasks.create_task(self.keep_pace())
            async for message in self._connection:
                match json.loads(message):
                    case {"event": "media", "media": {"payload": payload}}:
                        self.unplayed += decode_ulaw(b64decode(payload)).tobytes()
                    case {"event": "clear"}:
                        self.unplayed.clear()
            pacing.cancel()

    async def _send(self, event: str, **fields: Any) -> None:
        await self._connection.send(json.dumps({"event": event, "streamSid": "MZ1", **fields}))


@asynccontextmanager
async def media_stream(url: str) -> AsyncIterator[MediaStream]:
    """Call a program at `url` until the block ends."""
    async with connect(url) as connection, asyncio.TaskGroup() as tasks:
        caller = MediaStream(connection)
        talking = tasks.create_task(caller.talk())
        yield caller
        talking.cancel()
