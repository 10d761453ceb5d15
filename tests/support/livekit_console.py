"""A caller in the place of a LiveKit room, for workers of LiveKit Agents in Python and in Node.

No registry has LiveKit's server. Its libraries have a console mode instead (`console --connect-addr`): one process runs
the worker as it stands, and the caller's audio comes by a TCP socket instead of a room. This is the socket's other end.
"""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from livekit.protocol.agent_pb.agent_session import AgentSessionEvent, AgentSessionMessage, ChatRole

from server.client.playout import is_audible
from tests.support.speech import resample, speak

_RATE = 48_000  # of the console's audio, both ways
_FRAME_BYTES = _RATE // 50 * 2
_STOP_SECONDS = 10.0
_PATIENCE = 40.0  # seconds: a worker loads for some, on two cores that others share

ConsoleIO = AgentSessionMessage.ConsoleIO


class Console:
    """The caller: speaks and plays in real time. `loud` tells of each 20 ms whether something was heard."""

    def __init__(self) -> None:
        self.events: list[AgentSessionEvent] = []
        self.loud: list[bool] = []
        self._says = b""
        self._unplayed = bytearray()
        self._flushed = False
        self._changed = asyncio.Event()
        self._writer: asyncio.StreamWriter

    async def say(self, text: str) -> None:
        """Begin to say it."""
        self._says += resample(await speak(text), 16_000, _RATE)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what is heard or told makes it hold."""
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    @property
    def silent(self) -> bool:
        """Whether all was played that is there to be played."""
        return not self._unplayed

    @property
    def said(self) -> list[str]:
        """What the worker says it has said, message by message."""
        return [text for role, text in self.items if role == "assistant"]

    @property
    def items(self) -> list[tuple[str, str]]:
        """Role and text of each message of the worker's own history, in order."""
        added = [event.conversation_item_added.item for event in self.events]
        messages = [item.message for item in added if item.WhichOneof("item") == "message"]
        return [(ChatRole.Name(said.role).lower(), "".join(part.text for part in said.content)) for said in messages]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold the call with the worker that connected, until it hangs up."""
        self._writer = writer
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(self._tick())
            try:
                while True:
                    (size,) = struct.unpack(">I", await reader.readexactly(4))
                    self._take(AgentSessionMessage.FromString(await reader.readexactly(size)))
            except (asyncio.IncompleteReadError, ConnectionError):
                ticking.cancel()

    def _take(self, message: AgentSessionMessage) -> None:
        match message.WhichOneof("message"):
            case "audio_output":
                self._unplayed += message.audio_output.data
            case "audio_playback_flush":
                self._flushed = True
            case "audio_playback_clear":
                self._unplayed.clear()
                self._flushed = False
            case "event":
                self.events.append(message.event)
        self._changed.set()

    async def _tick(self) -> None:
        clock = asyncio.get_running_loop().time
        start = clock()
        while True:
            frame = self._says[:_FRAME_BYTES].ljust(_FRAME_BYTES, b"\0")
            self._says = self._says[_FRAME_BYTES:]
            audio = ConsoleIO.AudioFrame(
                data=frame, sample_rate=_RATE, num_channels=1, samples_per_channel=_FRAME_BYTES // 2
            )
            self._send(AgentSessionMessage(audio_input=audio))
            self.loud.append(is_audible(np.frombuffer(bytes(self._unplayed[:_FRAME_BYTES]), "<i2")))
            del self._unplayed[:_FRAME_BYTES]
            if self._flushed and not self._unplayed:
                self._flushed = False
                self._send(AgentSessionMessage(audio_playback_finished=ConsoleIO.AudioPlaybackFinished()))
            self._changed.set()
            await asyncio.sleep(start + len(self.loud) / 50 - clock())

    def _send(self, message: AgentSessionMessage) -> None:
        data = message.SerializeToString()
        self._writer.write(struct.pack(">I", len(data)) + data)


@asynccontextmanager
async def console(command: Sequence[str | Path], log: Path, **variables: str) -> AsyncIterator[Console]:
    """Run the worker that `command` starts in console mode, with a caller on its line, until the block ends.

    What the worker writes is in `log`.
    """
    caller = Console()
    server = await asyncio.start_server(caller.talk, "127.0.0.1", 0)
    address = "{}:{}".format(*server.sockets[0].getsockname())
    with log.open("wb") as output:
        worker = await asyncio.create_subprocess_exec(
            *command,
            *("--connect-addr", address),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | variables,
        )
    try:
        yield caller
    finally:
        if worker.returncode is None:
            worker.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await worker.wait()
        except TimeoutError:
            worker.kill()
            await worker.wait()
        server.close()
