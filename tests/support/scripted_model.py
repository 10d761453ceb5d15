"""A language model in the test's own process that writes just when the test lets it."""

import asyncio
from collections.abc import AsyncGenerator

from server.llm.interface import ChatRequest, Finished, LlmError, LlmEvent


class ScriptedModel:
    """An `LlmProvider`. `requests` holds what it was asked."""

    def __init__(self) -> None:
        self.requests: list[ChatRequest] = []
        self._events: asyncio.Queue[LlmEvent | LlmError] = asyncio.Queue()

    def write(self, *events: LlmEvent | LlmError) -> None:
        """The next events of the answer that is asked for."""
        for event in events:
            self._events.put_nowait(event)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        self.requests.append(request)
        while True:
            event = await self._events.get()
            if isinstance(event, LlmError):
                raise event
            yield event
            if isinstance(event, Finished):
                return

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass
