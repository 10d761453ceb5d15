"""An asynchronous stand-in on an event loop of its own, for tests that have none or that wait without theirs."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

Standin = TypeVar("Standin")

_SECONDS = 10.0


@contextmanager
def in_thread(standin: AbstractAsyncContextManager[Standin]) -> Iterator[Standin]:
    """Run it until the block ends; gives what entering it gives."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        started: Future[Standin] = asyncio.run_coroutine_threadsafe(standin.__aenter__(), loop)
        yield started.result(_SECONDS)
        asyncio.run_coroutine_threadsafe(standin.__aexit__(None, None, None), loop).result(_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
