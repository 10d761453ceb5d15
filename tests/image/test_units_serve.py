"""The commands of the units, run as they stand there: real workers on their sockets, a gateway that finds them."""

import os
import queue
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.live_call import live_call
from tests.support.node import running_node
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.units import read, words

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class Unit:
    """A unit's process and what it tells systemd."""

    def __init__(self, name: str, run: Path) -> None:
        self.name = name
        self._run = run
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(run / f"{name}.notify"))
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()  # a socket holds ten words, and then no more

    @property
    def command(self) -> list[str]:
        """Its program and arguments, here."""
        program, *arguments = shlex.split(self._here(read(self.name)["Service"]["ExecStart"][0]))
        assert program == "/opt/voicefleet/bin/python"
        return [sys.executable, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """What systemd would give it, besides what is the same for all of its units."""
        addresses = [word for word in words(self.name, "Service", "Environment") if "_ADDRESS=" in word]
        given = dict(self._here(word).split("=", 1) for word in addresses)
        return given | {"NOTIFY_SOCKET": str(self._run / f"{self.name}.notify"), "WATCHDOG_USEC": "1000000"}

    def word(self) -> str:
        """What it says next."""
        return self._said.get(timeout=_START_SECONDS)

    def last_word(self) -> str:
        """The last of what it said; it has ended."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
            ours.sendto(b"", self._socket.getsockname())  # comes after all of it
        return list(iter(self.word, ""))[-1]

    def _listen(self) -> None:
        while True:
            self._said.put(self._socket.recv(4096).decode())

    def _here(self, text: str) -> str:
        return text.replace("/run/voicefleet", str(self._run))


@contextmanager
def started(unit: Unit) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(unit.command, env={**os.environ, **unit.environment}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


async def test_the_units_serve_calls_and_tell_systemd(llm: OpenAiStandin) -> None:
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        run = Path(folder)
        for name in ("stt", "tts"):
            (run / name).mkdir()
        stt, tts = Unit("voicefleet-stt.service", run), Unit("voicefleet-tts.service", run)
        gateway = Unit("voicefleet.service", run)
        with started(stt) as ears, started(tts):
            assert (stt.word(), tts.word()) == ("READY=1", "READY=1")
            with running_node(**gateway.environment, VOICE_LLM=f"openai:standin@{llm.url}") as node:
                assert gateway.word() == "READY=1"
                assert node.get("/ready")[0] == 200
                async with live_call(node.websocket) as call:
                    assert (await call.turn("one two"))["status"] == "completed"
                assert {unit.word() for unit in (stt, tts, gateway)} == {"WATCHDOG=1"}
                ears.kill()
                ears.wait(_STOP_SECONDS)
                await node.until(lambda: node.get("/ready")[0] == 503)
                with started(stt):  # its socket's file is still there
                    await node.until(lambda: node.get("/ready")[0] == 200)
            assert gateway.last_word() == "STOPPING=1"
        assert (stt.last_word(), tts.last_word()) == ("STOPPING=1", "STOPPING=1")
