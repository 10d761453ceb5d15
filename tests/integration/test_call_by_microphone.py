"""`voicefleet call --mic`: a person speaks to a real node. The sound device is a stand-in; all else is real."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from server.audio.wav import read_wav, write_wav
from server.client.caller import WIRE_RATE, samples_from
from server.client.loudspeaker import Loudspeaker
from server.client.playout import is_audible
from server.client.sound_device import NoSoundDevice, sound_device
from server.client.transcripts import words
from server.main import cli
from tests.support.clips import BUNDLED
from tests.support.node import NodeProcess
from tests.support.openai_llm_standin import OpenAiStandin, by_rules

REPOSITORY = Path(__file__).parents[2]
QUESTION = REPOSITORY / "server" / "demo" / "question.wav"
NEXT_MESSAGE = BUNDLED / "vm-next.wav"
_PATIENCE_SECONDS = 60.0
TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)


def test_a_person_speaks_into_an_answer_and_is_answered(
    node: NodeProcess, answers: OpenAiStandin, tmp_path: Path
) -> None:
    answers.answer = by_rules({"capital": TALE, "message": "There is none."})
    spoken = [samples_from(QUESTION), np.zeros(4 * WIRE_RATE, np.int16), samples_from(NEXT_MESSAGE)]
    write_wav(tmp_path / "spoken.wav", np.concatenate(spoken), WIRE_RATE)
    device = {
        "PYTHONPATH": str(REPOSITORY / "tests" / "support" / "sound_device"),
        "SOUND_DEVICE_HEARS": str(tmp_path / "spoken.wav"),
        "SOUND_DEVICE_PLAYS": str(tmp_path / "played.wav"),
    }
    command = [sys.executable, "-m", "server.main", "call", node.websocket, "--mic", "--binary"]
    command += ["--save", str(tmp_path / "answers.wav")]
    with subprocess.Popen(command, env=os.environ | device, stdout=subprocess.PIPE, text=True) as person:
        assert person.stdout
        patience = threading.Timer(_PATIENCE_SECONDS, person.kill)
        patience.start()
        said = []
        for line in person.stdout:
            said.append(line.strip())
            if line == "answered  There is none.\n":
                person.send_signal(signal.SIGINT)
        patience.cancel()
    assert person.returncode == 128 + signal.SIGINT
    assert said[0] == "on the line: speak, and end the call with Ctrl-C"
    assert [words(line.removeprefix("heard")) for line in said if line.startswith("heard ")] == [
        words("What is the capital city of France?"),
        words("Press 6 to play the next message."),
    ]
    told = answers.requests[-1]["messages"][-2]["content"]
    assert TALE.startswith(told)
    assert 0 < len(told) < len(TALE) / 2, "what was heard in some four seconds"
    for name in ("answers.wav", "played.wav"):
        assert is_audible(read_wav(tmp_path / name)[0])


class _NoDevice(Exception):
    pass


def _no_device(**_: object) -> None:
    raise _NoDevice("Error querying device -1")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (None, "the package `sounddevice` is not installed; in a checkout: make mic"),
        (
            SimpleNamespace(RawInputStream=_no_device, PortAudioError=_NoDevice),
            "records and plays at 24000 Hz: Error query",
        ),
    ],
    ids=["no package", "no device"],
)
def test_what_is_missing_is_said_before_a_call_is_placed(
    module: object, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert says in _failure()


def test_a_missing_library_is_said_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    assert "apt-get install libportaudio2" in _failure()


async def test_a_device_that_stops_by_itself_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def pulled_out(finished_callback: Callable[[], None], **_: object) -> Iterator[None]:
        finished_callback()
        yield

    streams = SimpleNamespace(RawInputStream=pulled_out, RawOutputStream=pulled_out, PortAudioError=_NoDevice)
    monkeypatch.setitem(sys.modules, "sounddevice", streams)
    with sound_device(Loudspeaker(WIRE_RATE)) as microphone, pytest.raises(NoSoundDevice, match="device has stopped"):
        await anext(microphone)


def _failure() -> str:
    result = CliRunner().invoke(cli, ["call", "ws://127.0.0.1:9/v1/realtime", "--mic"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    return result.stderr
