"""A recogniser that runs for as long as somebody asks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.workers.recognizer import Recognizer, SpeechEngine


@asynccontextmanager
async def recognizing(engine: SpeechEngine, language: str = "", prompt: str = "") -> AsyncIterator[Recognizer]:
    """As in the worker; it is not warmed up."""
    recognizer = Recognizer(engine, language, prompt)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(recognizer.run())
        yield recognizer
        run.cancel()
