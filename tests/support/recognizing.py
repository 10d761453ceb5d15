"""Speech heard as the worker hears it, and in long windows alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from server.workers.engines.recognition import Window
from server.workers.engines.utterance import LONGEST_WINDOW
from server.workers.recognizer import Recognizer, SpeechEngine


@asynccontextmanager
async def recognizing(engine: SpeechEngine, language: str = "", prompt: str = "") -> AsyncIterator[Recognizer]:
    """The worker's recogniser, short windows first, for as long as the block lasts; it is not warmed up."""
    recognizer = Recognizer(engine, language, prompt)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(recognizer.run())
        yield recognizer
        run.cancel()


def heard_in_a_window(engine: SpeechEngine, samples: NDArray[np.float32], seconds: int) -> str:
    """The text of a window of so many seconds, or at full length where a gate refused it."""
    text = engine.recognize([Window(samples, seconds)])[0].text
    if not text and seconds < LONGEST_WINDOW:
        text = engine.recognize([Window(samples, LONGEST_WINDOW)])[0].text
    return text
