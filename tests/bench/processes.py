"""Processes that a measurement needs beside it: they end with the block that started them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from server.errors import VoicefleetError
from server.workers.client import CHECK_SECONDS, POLL_SECONDS, is_serving, open_channel

_STOP_SECONDS = 20.0


class NotServing(VoicefleetError):
    """A worker ended, or did not come to serve in time."""


@contextmanager
def python_module(
    *arguments: str, variables: Mapping[str, str] | None = None, stdout: int | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """`python -m` with these arguments, and these variables beside the environment's own; it prints to our stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, **(variables or {})},
        stdout=sys.stderr if stdout is None else stdout,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def worker(
    module: str, address: str, *arguments: str, seconds: float, variables: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A speech worker that serves at `address`, within so many seconds. Raises `NotServing`."""
    with python_module(module, "--address", address, *arguments, variables=variables) as process:
        asyncio.run(_until_serving(process, address, time.monotonic() + seconds))
        yield


async def _until_serving(process: "subprocess.Popen[str]", address: str, until: float) -> None:
    async with open_channel(address) as channel:
        while not await is_serving(channel, CHECK_SECONDS):
            if process.poll() is not None:
                raise NotServing(f"the worker at {address} ended with exit code {process.returncode}")
            if time.monotonic() > until:
                raise NotServing(f"the worker at {address} did not come to serve in time")
            await asyncio.sleep(POLL_SECONDS)
