"""The caller beside the attacker: it speaks, hears answers, and notes how well it is served meanwhile."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from websockets import WebSocketException

from server.client.caller import Speech, Turn, call
from server.client.errors import CallFailed
from tests.support.live_call import live_call

_PATIENCE_SECONDS = 20.0
_PROBE_SECONDS = 0.2
_KNOCK_SECONDS = 1.0


class _Stretch:
    """The longest time between two things; `open` while another one is awaited. Monotonic seconds."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._since: float | None = None

    def begin(self) -> None:
        """Wait from now on."""
        self._since = time.monotonic()

    def end(self) -> None:
        """It has come; nothing more is awaited."""
        self._longest, self._since = self.longest, None

    @property
    def longest(self) -> float:
        """So far, with the one that is open."""
        return max(self._longest, time.monotonic() - self._since) if self._since is not None else self._longest


class Victim:
    """Three honest callers on one key: one talks, one asks for its own item five times a second, one calls anew every
    second. `speaking` is set while the first answer is being heard.
    """

    def __init__(self, url: str, key: str, question: Speech) -> None:
        self._url = url
        self._key = key
        self._question = question
        self._stopping = False
        self.speaking = asyncio.Event()
        self.gap = _Stretch()
        self.reply = _Stretch()
        self.underruns = 0
        self.answered = 0
        self.refused = 0
        self.lost = ""

    def stop(self) -> None:
        """The turn that has begun is the last."""
        self._stopping = True

    async def run(self) -> None:
        """Call until stopped; a turn or a call that fails is in `lost`."""
        asides = [asyncio.create_task(work) for work in (self._probe(), self._knock())]
        try:
            async with call(self._url, self._key, on_event=self._hear) as caller:
                while not self._stopping:
                    self._note(await caller.say(self._question, _PATIENCE_SECONDS))
        except CallFailed as error:
            self.lost = str(error)
        finally:
            for task in asides:
                task.cancel()

    def _note(self, turn: Turn) -> None:
        self.underruns += turn.playout.underruns
        if turn.status == "completed":
            self.answered += 1
        else:
            self.lost = turn.error or turn.status

    def _hear(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "response.output_audio.delta":
                self.gap.end()
                self.gap.begin()
                self.speaking.set()
            case "response.output_audio.done":
                self.gap.end()

    async def _probe(self) -> None:
        """How late a reply to a tiny event is."""
        content = [{"type": "input_text", "text": "Hello."}]
        with suppress(WebSocketException, OSError, TimeoutError):
            async with live_call(self._url, patience=60.0, **self._options) as line:
                await line.send(
                    "conversation.item.create", item={"type": "message", "role": "user", "content": content}
                )
                item_id = (await line.until("conversation.item.done"))["item"]["id"]
                while True:
                    self.reply.begin()
                    await line.send("conversation.item.retrieve", item_id=item_id)
                    await line.until("conversation.item.retrieved")
                    self.reply.end()
                    await asyncio.sleep(_PROBE_SECONDS)

    async def _knock(self) -> None:
        """Whether a new caller gets in."""
        while True:
            await asyncio.sleep(_KNOCK_SECONDS)
            try:
                async with live_call(self._url, open_timeout=5.0, **self._options):
                    pass
            except (WebSocketException, OSError, TimeoutError):
                self.refused += 1

    @property
    def _options(self) -> dict[str, Any]:
        return {"additional_headers": {"Authorization": f"Bearer {self._key}"}}
