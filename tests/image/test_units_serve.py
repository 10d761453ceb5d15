"""The commands of the units, run as they stand there: real workers on their sockets, a gateway that finds them."""

import os
import shlex
import socket
import subprocess
import sys
import tempfile
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
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(run / f"{name}.notify"))
        self.notified.settimeout(_START_SECONDS)

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
        return self.notified.recv(4096).decode()

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
            assert _last(gateway) == "STOPPING=1"
        assert (_last(stt), _last(tts)) == ("STOPPING=1", "STOPPING=1")


def _last(unit: Unit) -> str:
    unit.notified.setblocking(False)
    said = []
    try:
        while True:
            said.append(unit.word())
    except BlockingIOError:
        return said[-1]
