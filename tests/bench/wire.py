"""What a call costs by how its audio travels: `python -m tests.bench.wire`.

Callers talk to one gateway on a core of its own, with stand-ins for speech and model (see `gateway_load`): with audio
as base64 in events or as binary messages, as 24 kHz PCM or as 8 kHz mu-law, each way for so many seconds, and then all
again in the opposite order. Bytes are those of the callers' TCP connections, WebSocket framing included, as the kernel
counts them; CPU is that of the gateway and of the process with all the callers.
"""

import argparse
import asyncio
import os
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from server.audio.formats import AudioFormat
from server.bench.node_usage import sample
from server.cli.bench import clips_from
from server.client.caller import Speech, call
from server.client.local_node import LocalNode
from server.client.wire import Wire
from tests.bench.gateway_load import lone_gateway
from tests.bench.markdown import table

_PCMU = AudioFormat.of("audio/pcmu")
WIRES = {
    "PCM 24 kHz, base64": Wire(),
    "PCM 24 kHz, binary": Wire(binary=True),
    "µ-law 8 kHz, base64": Wire(_PCMU),
    "µ-law 8 kHz, binary": Wire(_PCMU, binary=True),
}
_WARM_UP_SECONDS = 8.0
_THINKING_SECONDS = 0.5
_TCP_INFO_BYTES = 192
_BYTES_ACKED = 120  # the offset in struct tcp_info (linux/tcp.h), and after it bytes received


@dataclass(frozen=True, slots=True)
class Spent:
    """Bytes that left the callers and that came to them, CPU seconds by part, and turns that were answered."""

    sent: float
    received: float
    gateway: float
    vad: float
    callers: float
    turns: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(mine + its for mine, its in zip(_values(self), _values(other), strict=True)))

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(*(mine - its for mine, its in zip(_values(self), _values(other), strict=True)))


def _values(spent: Spent) -> tuple[float, ...]:
    return spent.sent, spent.received, spent.gateway, spent.vad, spent.callers, spent.turns


def traffic(port: int) -> tuple[int, int]:
    """Bytes that this process has sent to a port and received from it, on the connections that are open."""
    sent = received = 0
    for entry in Path("/proc/self/fd").iterdir():
        if not entry.is_socket():
            continue
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as found:  # it may have no peer
            if found.family == socket.AF_INET and found.getpeername()[1] == port:
                info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
                acked, came = struct.unpack_from("QQ", info, _BYTES_ACKED)
                sent, received = sent + acked, received + came
    return sent, received


class _Callers:
    """So many at once, on one wire. None of their connections ends before the measurement does."""

    def __init__(self, node: LocalNode, wire: Wire, speech: Speech) -> None:
        self._node = node
        self._wire = wire
        self._speech = speech
        self._turns = 0

    async def measure(self, calls: int, seconds: float) -> Spent:
        async with asyncio.TaskGroup() as tasks:
            talking = [tasks.create_task(self._talk(_WARM_UP_SECONDS * index / calls)) for index in range(calls)]
            await asyncio.sleep(_WARM_UP_SECONDS)
            before = self._now()
            await asyncio.sleep(seconds)
            spent = self._now() - before
            for task in talking:
                task.cancel()
        return spent

    async def _talk(self, delay: float) -> None:
        await asyncio.sleep(delay)
        async with call(self._node.websocket, wire=self._wire) as caller:
            while True:
                await caller.say(self._speech)
                self._turns += 1
                await asyncio.sleep(_THINKING_SECONDS)

    def _now(self) -> Spent:
        callers = time.process_time()
        sent, received = traffic(urlsplit(self._node.websocket).port or 0)
        cpu = sample(f"{self._node.http}/metrics").cpu
        return Spent(sent, received, cpu["gateway"], cpu["vad"], callers, self._turns)


def run(calls: int, seconds: float, gateway_core: int, other_core: int) -> str:
    """The table of what was measured."""
    [clip] = clips_from([])
    spent = dict.fromkeys(WIRES, Spent(0, 0, 0, 0, 0, 0))
    # Twice the room: the last connections of one way may still be closing when the next one begins.
    with lone_gateway(2 * calls, gateway_core, other_core) as node:
        for name in (*WIRES, *reversed(WIRES)):
            spent[name] += uvloop.run(_Callers(node, WIRES[name], clip.speech).measure(calls, seconds))
            print(name, "measured", flush=True)
    call_seconds = 2 * calls * seconds
    columns = (
        "audio",
        "to the node, KB/s",
        "from the node, KB/s",
        "gateway CPU, ms/s",
        "of it VAD",
        "callers' CPU, ms/s",
    )
    return table(
        (*columns, "turns"),
        (
            (
                name,
                f"{each.sent / call_seconds / 1000:.1f}",
                f"{each.received / call_seconds / 1000:.1f}",
                *(f"{1000 * cpu / call_seconds:.2f}" for cpu in (each.gateway, each.vad, each.callers)),
                f"{each.turns:.0f}",
            )
            for name, each in spent.items()
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each way, twice")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--other-core", type=int, default=1)
    options = parser.parse_args()
    print(run(options.calls, options.seconds, options.gateway_core, options.other_core))


if __name__ == "__main__":
    main()
