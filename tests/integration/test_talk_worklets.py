"""The talk page's AudioWorklets, run in Node: what the microphone's rate becomes, and what is told of the playing."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server import talk
from tests.support.node_js import newest_node

FOLDER = Path(talk.__file__).parent
# A worklet's world: a processor of the browser's, at a rate. What it posts is written as a line of JSON.
WORLD = """
globalThis.sampleRate = {rate};
globalThis.AudioWorkletProcessor = class {{
  port = {{ postMessage: (told) => console.log(JSON.stringify(told, (_, value) =>
    value instanceof ArrayBuffer ? [...new Int16Array(value)] : value)) }};
}};
globalThis.registerProcessor = (_, Processor) => {{ globalThis.processor = new Processor(); }};
await import("{module}");
{script}
"""


def told(worklet: str, rate: int, script: str) -> list[dict[str, Any]]:
    """What the worklet's processor posts while `script` uses it."""
    source = WORLD.format(rate=rate, module=(FOLDER / worklet).as_uri(), script=script)
    done = subprocess.run(
        [newest_node(), "--input-type=module", "--eval", source], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def captured(rate: int, hertz: float) -> tuple[np.ndarray, list[float]]:
    """A second of a tone at half of full scale as it leaves the microphone's worklet, and its frames' loudness."""
    frames = told(
        "capture.worklet.js",
        rate,
        f"const sample = (at) => 0.5 * Math.sin(2 * Math.PI * {hertz} * at / {rate});"
        f"for (let at = 0; at < {rate}; at += 128)"
        " processor.process([[Float32Array.from({length: 128}, (_, i) => sample(at + i))]])",
    )
    return np.array([frame["pcm"] for frame in frames]) / 32768, [frame["loudness"] for frame in frames]


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000, 96_000])
def test_what_the_microphone_hears_becomes_frames_of_20_ms_at_24_khz(rate: int) -> None:
    frames, loudness = captured(rate, 1000)
    assert frames.shape in {(49, 480), (50, 480)}
    steady = frames[5:45].ravel()
    angle = 2 * np.pi * 1000 * np.arange(len(steady)) / 24_000
    parts = np.stack([np.sin(angle), np.cos(angle)])
    fitted = (steady @ parts.T / (len(steady) / 2)) @ parts
    assert np.std(fitted) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert np.std(steady - fitted) < 0.5 / np.sqrt(2) / 300, "50 dB below the tone"
    assert loudness[10] == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("hertz", [13_000, 17_000, 22_000])
def test_what_24_khz_can_not_hold_is_not_folded_into_speech(hertz: int) -> None:
    frames, _ = captured(48_000, hertz)
    assert np.std(frames[5:45]) < 0.5 / np.sqrt(2) / 300


def test_a_microphone_that_ends_goes_on_as_silence() -> None:
    frames = told("capture.worklet.js", 24_000, "for (let n = 0; n < 20; n++) processor.process([[]])")
    assert all(not any(frame["pcm"]) for frame in frames)
    assert len(frames) == 5


PLAYED = """
const say = (item, ms) => processor.port.onmessage({data: {item, samples: new Float32Array(24 * ms).fill(0.5)}});
const play = (blocks) => { for (let n = 0; n < blocks; n++) processor.process([], [[new Float32Array(240)]]) };
"""


def test_what_is_dropped_is_told_with_how_much_of_it_was_played() -> None:
    heard = told(
        "play.worklet.js",
        24_000,
        PLAYED + "say('one', 30); say('one', 30); say('two', 100); say('three', 100);"
        "play(9); processor.port.onmessage({data: 'drop'}); play(2); processor.port.onmessage({data: 'drop'})",
    )
    dropped = [event["dropped"] for event in heard if "dropped" in event]
    assert dropped == [[{"item": "two", "ms": 30}, {"item": "three", "ms": 0}], []]


def test_the_end_of_all_that_came_is_told_once() -> None:
    heard = told("play.worklet.js", 24_000, PLAYED + "say('one', 55); play(20); say('one', 5); play(20)")
    assert [event["silent"] for event in heard if event.get("silent")] == [True, True]
    assert all(event["loudness"] <= 0.5 for event in heard)


def test_what_is_cut_off_fades_and_does_not_click() -> None:
    [line] = told(
        "play.worklet.js",
        24_000,
        PLAYED + "say('one', 100); play(1); processor.port.postMessage = () => {};"
        "processor.port.onmessage({data: 'drop'}); const out = new Float32Array(240); processor.process([], [[out]]);"
        "console.log(JSON.stringify({out: [...out]}))",
    )
    steps = np.abs(np.diff([0.5, *line["out"]]))
    assert steps.max() < 0.05
    assert abs(line["out"][-1]) < 0.001
