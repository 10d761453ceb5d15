"""A caller in the place of a LiveKit room, for workers of LiveKit Agents in Python and in Node.

No registry has LiveKit's server. Its libraries have a console mode instead (`console --connect-addr`): one process runs
the worker as it stands, and the caller's audio comes by a TCP socket instead of a room. This is the socket's other end.
"""

import asyncio
import struct
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from livekit.protocol.agent_pb.agent_session import AgentSessionMessage

from tests.support.paced_caller import PacedCaller
from tests.support.running_program import running_program

_RATE = 48_000  # of the console's audio, both ways

ConsoleIO = AgentSessionMessage.ConsoleIO


class Console(PacedCaller):
    """The caller on the socket."""

    def __init__(self) -> None:
        super().__init__(_RATE)
        self._flushed = False
        self._writer: StreamWriter

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Hold the call with the worker that connected, until it hangs up."""
        self._writer = writer
        async with asyncio.TaskGroup() as tasks:
            pacing = tasks.create_task(self.keep_pace())
            with suppress(IncompleteReadError, ConnectionError):
                while True:
                    (size,) = struct.unpack(">I", await reader.readexactly(4))
                    self._take(AgentSessionMessage.FromString(await reader.readexactly(size)))
            pacing.cancel()

    async def send(self, pcm: bytes) -> None:
        audio = ConsoleIO.AudioFrame(data=pcm, sample_rate=_RATE, num_channels=1, samples_per_channel=len(pcm) // 2)
        self._put(AgentSessionMessage(audio_input=audio))
        if self._flushed and not self.unplayed:
            self._flushed = False
            self._put(AgentSessionMessage(audio_playback_finished=ConsoleIO.AudioPlaybackFinished()))

    def _take(self, message: AgentSessionMessage) -> None:
        match message.WhichOneof("message"):
            case "audio_output":
                self.unplayed += message.audio_output.data
            case "audio_playback_flush":
                self._flushed = True
            case "audio_playback_clear":
                self.unplayed.clear()
                self._flushed = False

    def _put(self, message: AgentSessionMessage) -> None:
        data = message.SerializeToString()
        self._writer.write(struct.pack(">I", len(data)) + data)


@asynccontextmanager
async def console(command: Sequence[str | Path], log: Path, **variables: str) -> AsyncIterator[Console]:
    """Run the worker that `command` starts in console mode, with a caller on its line, until the block ends.

    What the worker writes is in `log`.
    """
    caller = Console()
    async with await asyncio.start_server(caller.talk, "127.0.0.1", 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        async with running_program([*command, "--connect-addr", address], log, **variables):
            yield caller
