"""Whatever a library raises ends at the border of the part that uses it: a typed failure, and the part lives on."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from server.access.key_secret import with_keys
from server.fleet import autoscaling, cloudwatch
from server.fleet.autoscaling import InstanceInGroup
from server.fleet.cloudwatch import Publisher
from server.fleet.group_requests import Answer, Protect
from server.fleet.imds import Imds, ImdsUnavailable
from server.observability.metrics import REGISTRY
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.smart_turn_processor import SmartTurnProcessor
from server.stt_processor import SttError, SttProcessor
from server.vad_processor import FRAME_SAMPLES, VadProcessor
from server.workers import speech_pb2
from server.workers.client import is_serving
from server.workers.commands import WorkerCommand
from server.workers.supervisor import Supervisor, WorkerFailed
from tests.support.speech import model_folder

SECRET = "AKIDSECRET"
ODD: list[Exception] = [
    AttributeError(f"'list' object has no attribute 'get' in {SECRET}"),
    KeyError(SECRET),
    TypeError(SECRET),
    ValueError(f"not JSON: {SECRET}"),
    LookupError("unknown encoding: x"),
    RuntimeError("loop"),
]


def raising(error: Exception) -> Callable[..., Any]:
    def fails(*_: object, **__: object) -> Any:
        raise error

    return fails


@pytest.mark.parametrize("error", ODD, ids=repr)
def test_a_request_to_the_group_fails_and_says_nothing_of_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """botocore#2779: what a credential helper prints ends in any of Python's errors."""
    monkeypatch.setattr(autoscaling, "make_client", raising(error))
    assert InstanceInGroup("group", "i-1", "us-east-1").send(Protect(on=True)) is Answer.FAILED
    assert SECRET not in capsys.readouterr().out


@pytest.mark.parametrize("error", ODD, ids=repr)
def test_a_measurement_that_can_not_be_published_is_dropped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.setattr(cloudwatch, "make_client", raising(error))
    Publisher("group", "us-east-1").publish(0.5)
    assert SECRET not in capsys.readouterr().out


@pytest.mark.parametrize("error", ODD, ids=repr)
def test_a_secret_that_can_not_be_read_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr("server.access.key_secret.make_client", raising(error))
    with pytest.raises(SettingsError, match="VOICE_KEYS_SECRET") as caught:
        with_keys(Settings(keys_secret="keys"))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("error", ODD, ids=repr)
async def test_a_metadata_service_that_answers_nonsense_is_unavailable(error: Exception) -> None:
    class Session:
        request = staticmethod(raising(error))

    with pytest.raises(ImdsUnavailable):
        await Imds(Session()).look()  # type: ignore[arg-type]  # all that it uses of a session


@pytest.mark.parametrize("error", ODD, ids=repr)
async def test_recognition_fails_in_a_word_whatever_grpc_raises(error: Exception) -> None:
    class Stub:
        Transcribe = staticmethod(raising(error))

    stt = SttProcessor("unix:/nowhere")
    stt._stub = Stub()  # type: ignore[assignment]  # all that is asked of it here
    with pytest.raises(SttError) as caught:
        await stt._ask(speech_pb2.TranscribeRequest(pcm=b"\0\0"))
    assert caught.value.failure == "unavailable"


async def test_a_worker_that_can_not_even_be_asked_does_not_serve() -> None:
    assert not await is_serving(None, 1.0)  # a channel that is none


async def test_frames_that_the_detector_fails_to_judge_are_silence_and_the_next_ones_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vad = VadProcessor(model_folder("silero-vad") / "silero_vad.onnx")
    infer, failures = vad._infer, 2

    def sometimes(frames: Any, states: Any) -> Any:
        nonlocal failures
        if len(frames) and np.any(frames) and failures:
            failures -= 1
            raise RuntimeError("out of memory")
        return infer(frames, states)

    monkeypatch.setattr(vad, "_infer", sometimes)
    before = REGISTRY.get_sample_value("voice_vad_errors_total") or 0.0
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(vad.run())
        stream = vad.stream()
        noise = np.random.default_rng(0).integers(-9000, 9000, 4 * FRAME_SAMPLES).astype("<i2").tobytes()
        await stream.feed(noise)
        heard = []
        async for activity in stream:
            heard.append(activity.probability)
            if len(heard) == 4:
                break
        running.cancel()
    assert heard[:2] == [0.0, 0.0]
    assert all(probability > 0.0 for probability in heard[2:])
    assert REGISTRY.get_sample_value("voice_vad_errors_total") == before + 2


async def test_a_pause_that_smart_turn_fails_to_judge_has_no_opinion_and_the_next_one_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smart_turn = SmartTurnProcessor(model_folder("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx")
    before = REGISTRY.get_sample_value("voice_smart_turn_errors_total") or 0.0
    with monkeypatch.context() as patch:
        patch.setattr(smart_turn, "_infer", raising(RuntimeError("out of memory")))
        assert await smart_turn.probability(bytes(2000)) is None
    assert await smart_turn.probability(bytes(2000)) is not None
    assert REGISTRY.get_sample_value("voice_smart_turn_errors_total") == before + 1


async def test_a_worker_that_the_system_can_not_start_is_given_up_with_its_reason() -> None:
    command = WorkerCommand("tts", ("/nowhere/python",), "unix:/nowhere", {})
    with pytest.raises(WorkerFailed, match="No such file or directory"):
        await Supervisor([command]).run()
