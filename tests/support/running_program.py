"""Another's program that serves in a process of its own, while a test is at its other end."""

import asyncio
import os
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

_STOP_SECONDS = 10.0


@asynccontextmanager
async def running_program(command: Sequence[str | Path], log: Path, **variables: str) -> AsyncIterator[None]:
    """Run it with these variables until the block ends; what it writes is in `log`."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=output, stderr=output, env=os.environ | variables
        )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
