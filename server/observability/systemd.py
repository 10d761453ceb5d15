"""What systemd is told of a process that it runs with Type=notify: that it serves, that it lives, that it stops.

The protocol is sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Without it nothing is done. It decides
nothing and logs nothing.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def serving_under_systemd(healthy: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
    """Ready inside the block, stopping when it ends; the watchdog hears of the event loop while it is `healthy`.

    To be entered once, by the process that the unit names. Raises OSError where the socket can't be had.
    """
    # Out of the environment with it: what this process starts is not to speak in its name.
    address, watchdog = os.environ.pop("NOTIFY_SOCKET", ""), os.environ.pop("WATCHDOG_USEC", "0")
    if not address:
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.connect("\0" + address[1:] if address.startswith("@") else address)
        systemd.setblocking(False)
        systemd.send(b"READY=1")
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(_beat(systemd, int(watchdog) / 2e6, healthy))
            try:
                yield
            finally:
                beating.cancel()
                _tell(systemd, b"STOPPING=1")


async def _beat(systemd: socket.socket, seconds: float, healthy: Callable[[], bool]) -> None:
    """Tell the watchdog, every so many seconds; 0 means that there is none."""
    while seconds:
        if healthy():
            _tell(systemd, b"WATCHDOG=1")
        await asyncio.sleep(seconds)


def _tell(systemd: socket.socket, word: bytes) -> None:
    with suppress(OSError):  # systemd is behind, or starting afresh; nothing here may wait or fail for that
        systemd.send(word)
