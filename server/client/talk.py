"""A person's call: what a microphone hears goes to the node, and what it answers to a loudspeaker.

When the person speaks into an answer, the rest of it is dropped and the node is told how much was heard. It cancels no
echo: where the microphone hears the loudspeaker, the node has to tell the two apart.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from server.client.caller import FRAME_SECONDS, Turn
from server.client.errors import CallFailed
from server.client.line import Line
from server.client.loudspeaker import Loudspeaker
from server.client.wire import Wire
from server.errors import VoicefleetError, first_of


class Talk:
    """A call on `line`, whose `wire` has the default format; `on_turn` gets each answer that has ended, cut off or not.

    `microphone` gives a frame of 20 ms every 20 ms.
    """

    def __init__(
        self,
        line: Line,
        wire: Wire,
        microphone: AsyncIterator[bytes],
        loudspeaker: Loudspeaker,
        on_turn: Callable[[Turn], None],
    ) -> None:
        self._line = line
        self._wire = wire
        self._microphone = microphone
        self._loudspeaker = loudspeaker
        self._on_turn = on_turn
        self._turn = Turn()

    async def hold(self, session: dict[str, Any]) -> None:
        """Talk until cancelled. Raises `CallFailed` when the node hangs up, and what `microphone` raises."""
        with first_of(VoicefleetError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                await self._send({"type": "session.update", "session": session})
                tasks.create_task(self._speak())

    async def _speak(self) -> None:
        async for frame in self._microphone:
            await self._line.send(self._wire.message(frame), FRAME_SECONDS)

    async def _listen(self) -> None:
        async for event in self._line.events():
            self._turn.hear(event)
            match event:
                case {"type": "response.output_audio.delta", "item_id": item_id, "delta": audio}:
                    self._loudspeaker.add(item_id, audio)
                    self._turn.playout.add(self._wire.samples(audio), time.monotonic())
                case {"type": "input_audio_buffer.speech_started"}:
                    await self._fall_silent()
                case {"type": "response.done", "response": response}:
                    self._turn.end(response)
                    self._on_turn(self._turn)
                    self._turn = Turn()
                case {"type": "error", "error": {"message": message}}:
                    raise CallFailed(f"the node answered with an error: {message}")

    async def _fall_silent(self) -> None:
        for item_id, heard_ms in self._loudspeaker.stop():
            truncation = {"item_id": item_id, "content_index": 0, "audio_end_ms": heard_ms}
            await self._send({"type": "conversation.item.truncate", **truncation})

    async def _send(self, event: dict[str, Any]) -> None:
        await self._line.send(json.dumps(event))
