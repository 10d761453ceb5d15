"""When a call ends, and what is left of it then: nothing, and not only once the collector comes."""

import asyncio
import contextlib
import gc
import json
import time
import weakref
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from server.access.admission import Admission
from server.access.call_time import CallTime
from server.access.tickets import Ticket
from server.conversation.conversation import Conversation
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import Session as OpenAiSession
from server.pipeline import Session
from server.resumption import Resumption, TicketOffice
from server.settings.settings import Settings
from server.wire_message import WireMessage


class _Silence:
    """Voice detection that has nothing to say."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


class _Call:
    """A session without speech, and what it has sent."""

    def __init__(self, call_time: CallTime) -> None:
        ids = iter(range(1000))
        wire = OpenAiSession(id="sess", model="m", instructions="Be brief.")
        self.conversation = Conversation(wire.config(), lambda prefix: f"{prefix}_{next(ids)}")
        self.dialect = OpenAiDialect(
            wire, self.conversation, lambda prefix: f"{prefix}_{next(ids)}", call_time=call_time
        )
        speech = SimpleNamespace(session=lambda *_: None)
        parts: Any = SimpleNamespace(vad=SimpleNamespace(stream=_Silence), smart_turn=None, stt=speech, tts=speech)
        self.sent: list[Any] = []
        admission = Admission(1, 1)
        resumption = Resumption(TicketOffice(["secret"], 60.0, 1000), admission, admission.admit(), None, "sess")
        self.session = Session(parts, Settings(), self.conversation, self.dialect, self._send, call_time, resumption)
        self.changed = asyncio.Event()

    async def _send(self, message: WireMessage) -> None:
        self.sent.append(json.loads(message.data))
        self.changed.set()


async def _until_sent(call: _Call, count: int) -> None:
    while len(call.sent) < count:
        call.changed.clear()
        await call.changed.wait()


@pytest.mark.parametrize("ending", ["hangs up", "breaks"])
async def test_what_a_call_held_is_freed_as_it_ends(ending: str) -> None:
    call = _Call(CallTime(0.0, 0.0, 0.0))

    async def messages() -> AsyncIterator[str]:
        content = [{"type": "input_text", "text": "x" * 1000}]
        item = {"type": "message", "role": "user", "content": content}
        yield json.dumps({"type": "conversation.item.create", "item": item})
        await _until_sent(call, 3)  # session.created and two events for the item
        if ending == "breaks":
            raise ConnectionResetError

    held: list[weakref.ref[Any]] = [weakref.ref(call.conversation.history), weakref.ref(call.conversation.playback)]
    gc.disable()
    try:
        with contextlib.suppress(ExceptionGroup):
            await call.session.run(messages())
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(("state", "left"), [("good", 500.0), ("of other software", 600.0)])
async def test_a_call_that_goes_on_here_ends_when_it_would_have_there(state: str, left: float) -> None:
    now = time.monotonic()
    call = _Call(CallTime(now, 600.0, 0.0))
    saved = call.dialect.state(now, 10_000) if state == "good" else b"[]"
    ticket = Ticket("local", "sess_before", 1, 0, 100.0, msgspec.Raw(saved))

    async def messages() -> AsyncIterator[str]:
        yield json.dumps({"type": "input_audio_buffer.clear"})
        await _until_sent(call, 2)

    await call.session.run(messages(), ticket)
    [created] = [event for event in call.sent if event["type"] == "session.created"]
    assert abs(created["session"]["expires_at"] - now - left) < 5
