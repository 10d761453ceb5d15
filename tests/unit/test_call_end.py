"""What is left of a call when it has ended: nothing, and not only once the collector comes."""

import asyncio
import contextlib
import gc
import json
import weakref
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from server.access.admission import Admission
from server.access.call_time import CallTime
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


@pytest.mark.parametrize("ending", ["hangs up", "breaks"])
async def test_what_a_call_held_is_freed_as_it_ends(ending: str) -> None:
    ids = iter(range(1000))
    wire = OpenAiSession(id="sess", model="m", instructions="Be brief.")
    conversation = Conversation(wire.config(), lambda prefix: f"{prefix}_{next(ids)}")
    dialect = OpenAiDialect(wire, conversation, lambda prefix: f"{prefix}_{next(ids)}")
    speech = SimpleNamespace(session=lambda *_: None)
    parts: Any = SimpleNamespace(vad=SimpleNamespace(stream=_Silence), smart_turn=None, stt=speech, tts=speech)
    sent: list[WireMessage] = []
    told = asyncio.Event()

    async def send(message: WireMessage) -> None:
        sent.append(message)
        if len(sent) == 3:  # session.created and two events for the item
            told.set()

    async def messages() -> AsyncIterator[str]:
        content = [{"type": "input_text", "text": "x" * 1000}]
        item = {"type": "message", "role": "user", "content": content}
        yield json.dumps({"type": "conversation.item.create", "item": item})
        await told.wait()
        if ending == "breaks":
            raise ConnectionResetError

    admission = Admission(1, 1)
    resumption = Resumption(TicketOffice(["secret"], 60.0, 1000), admission, admission.admit(), None, "sess")
    session = Session(parts, Settings(), conversation, dialect, send, CallTime(0.0, 0.0, 0.0), resumption)
    held: list[weakref.ref[Any]] = [weakref.ref(conversation.history), weakref.ref(conversation.playback)]
    gc.disable()
    try:
        with contextlib.suppress(ExceptionGroup):
            await session.run(messages())
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()
