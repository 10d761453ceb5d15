"""How long callers who have fallen silent keep their places, and what they cost meanwhile.

In a network of its own: `unshare --user --map-root-user --net .venv/bin/python -m tests.bench.silent_peers`. Some of
them vanish: nftables drops every packet from and to them, and no end of a connection comes. Others live and read no
more. It prints a line for each, and ends with the exit status 1 if one kept its place for too long, the node grew too
much, or a caller beside them was not served.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from tests.bench.attacks.trial import forget_peak, memory
from tests.bench.markdown import table
from tests.support.in_thread import in_thread
from tests.support.live_call import LiveCall, live_call
from tests.support.node import NodeProcess, quick_speech, running_node
from tests.support.openai_llm_standin import OpenAiStandin

_MOST_SECONDS = 45.0  # a ping's interval and its timeout, 20 s each, and what a busy machine adds
_MOST_GROWTH = 64.0  # MiB, of all of them together
_GIVE_UP_SECONDS = 90.0

# On loopback each of these is an address like any other; the node has 127.0.0.1.
_VANISHING, _STAYING = "127.0.0.2", "127.0.0.3"


async def _at_rest(_: LiveCall) -> None:
    pass


async def _speaking(call: LiveCall) -> None:
    await call.append(bytes(24_000))


async def _spoken_to(call: LiveCall) -> None:
    await call.type("word " * 400)  # two minutes of the stand-in's voice
    await call.until("response.output_audio.delta")


async def _owed_much(call: LiveCall) -> None:
    content = [{"type": "input_text", "text": "x" * 900_000}]
    item = {"id": "long", "type": "message", "role": "user", "content": content}
    await call.send("conversation.item.create", item=item)
    for _ in range(30):
        await call.send("conversation.item.retrieve", item_id="long")


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller: what it is in the middle of when it falls silent, and whether it vanishes or only reads no more."""

    doing: Callable[[LiveCall], Awaitable[None]]
    vanishes: bool

    def __str__(self) -> str:
        return f"{'vanishes' if self.vanishes else 'stops reading'}, {self.doing.__name__[1:].replace('_', ' ')}"


_DOING = (_at_rest, _speaking, _spoken_to, _owed_much)
_PEERS = [Peer(doing, vanishes) for vanishes in (True, False) for doing in _DOING]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a peer: how long after its silence its place was free (infinite: never), and the reason in the log.

    `told` is the close code that one who only read no more finds when it reads again.
    """

    peer: Peer
    seconds: float
    reason: str
    told: int | None


async def fall_silent(node: NodeProcess) -> tuple[Sequence[Outcome], float]:
    """All peers call `node` and fall silent at once. Also the MiB by which the node grew at most."""
    pid = node.process.pid
    async with live_call(node.websocket) as beside, AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(_call(node, peer)) for peer in _PEERS]
        forget_peak(pid)
        before = memory(pid, "VmRSS")
        for peer, call in zip(_PEERS, calls, strict=True):
            await peer.doing(call)
            call.connection.transport.pause_reading()
        _drop_packets_of(_VANISHING)
        silent_at = time.time()  # as the log's timestamps are
        ids = [call.events[0]["session"]["id"] for call in calls]
        while time.time() - silent_at < _GIVE_UP_SECONDS and not set(ids) <= _ended(node).keys():
            assert await beside.ask("ping") == "You said: ping"
            await asyncio.sleep(1.0)
        ended, cut = _ended(node), {line["session_id"]: line["reason"] for line in node.events("session_cut")}
        outcomes = []
        for peer, call, session_id in zip(_PEERS, calls, ids, strict=True):
            call.connection.transport.resume_reading()
            told = None if peer.vanishes else await call.closed()
            seconds = ended.get(session_id, float("inf")) - silent_at
            outcomes.append(Outcome(peer, seconds, cut.get(session_id, "-"), told))
            call.reset()
        return outcomes, memory(pid, "VmHWM") - before


def _ended(node: NodeProcess) -> dict[str, float]:
    """When each session ended, in seconds since 1970: by then its place is free."""
    return {
        line["session_id"]: datetime.fromisoformat(line["timestamp"]).timestamp()
        for line in node.events("session_ended")
    }


@asynccontextmanager
async def _call(node: NodeProcess, peer: Peer) -> AsyncIterator[LiveCall]:
    """On a connection of which the kernels keep little, so that what is not read waits in the node."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        connection.bind((_VANISHING if peer.vanishes else _STAYING, 0))
        connection.connect(("127.0.0.1", urlsplit(node.websocket).port))
        connection.setblocking(False)
        async with live_call(node.websocket, sock=connection, ping_interval=None) as call:
            yield call


def _drop_packets_of(address: str) -> None:
    rules = f"type filter hook input priority 0\n ip saddr {address} drop\n ip daddr {address} drop"
    subprocess.run(["/usr/sbin/nft", f"table inet silence {{ chain drops {{ {rules}\n }}\n }}"], check=True)


def main() -> None:
    if subprocess.check_output(["/usr/sbin/ip", "link", "show", "lo", "up"]):  # a fresh network has nothing up
        sys.exit("the network here is in use; unshare --user --map-root-user --net gives one of its own")
    subprocess.run(["/usr/sbin/ip", "link", "set", "lo", "up"], check=True)
    with (
        quick_speech() as speech,
        in_thread(OpenAiStandin(first_token_seconds=0.05)) as model,
        running_node(**speech, VOICE_LLM=f"openai:standin@{model.url}") as node,
    ):
        outcomes, growth = asyncio.run(fall_silent(node))
    rows = [(outcome.peer, f"{outcome.seconds:.1f}", outcome.reason, outcome.told or "-") for outcome in outcomes]
    print(table(("caller", "its place was free after, s", "because", "told on its return"), rows))
    print(f"The node grew by at most {growth:.0f} MiB.")
    too_long = [outcome for outcome in outcomes if outcome.seconds > _MOST_SECONDS]
    sys.exit(1 if too_long or growth > _MOST_GROWTH else 0)


if __name__ == "__main__":
    main()
