"""What recognition is reckoned to take of a GPU, and what that says of its batcher."""

from dataclasses import replace

import pytest

from server.bench.devices import DEVICES
from server.bench.recognition_costs import WHISPER, cost, memory
from server.models.catalogue import load_catalogue
from tests.bench.recognition_batches import Policy, simulated

A10G, H200 = DEVICES["A10G"], DEVICES["H200"]
_TINY, _SMALL = WHISPER["tiny.en"], WHISPER["small"]


@pytest.mark.parametrize("name", WHISPER)
def test_a_models_weights_are_as_large_as_its_file(name: str) -> None:
    (file,) = [file for file in load_catalogue()[name].files if file.path == "model.bin"]
    assert memory(WHISPER[name], 0, 30.0) == pytest.approx(file.size, rel=0.06)


def test_a_batch_of_a_small_model_takes_the_time_that_its_kernels_take_to_start() -> None:
    alone, together = (cost(_TINY, A10G, batch, 4.0, 12) for batch in (1, 16))
    assert alone.seconds == together.seconds == alone.host
    assert together.device < 2 * alone.device
    assert together.features == 16 * alone.features


def test_a_batch_of_a_large_model_in_long_windows_takes_the_devices_time() -> None:
    some, twice = (cost(_SMALL, A10G, batch, 30.0, 40) for batch in (16, 32))
    assert some.seconds == some.device
    assert twice.device == pytest.approx(2 * some.device, rel=0.1)
    assert cost(_SMALL, H200, 16, 30.0, 40).device < some.device / 4


def test_time_grows_with_tokens_and_memory_with_the_square_of_the_window() -> None:
    assert cost(_TINY, H200, 1, 4.0, 24).host > 1.8 * cost(_TINY, H200, 1, 4.0, 12).host
    of_a_batch = [memory(_TINY, 16, window) - memory(_TINY, 0, window) for window in (15.0, 30.0)]
    assert 3.0 < of_a_batch[1] / of_a_batch[0] < 4.0


def test_without_batches_many_calls_are_never_done() -> None:
    today = Policy("today")
    without, batches = (simulated(policy, _SMALL, A10G, 128, 60.0) for policy in (replace(today, max_batch=1), today))
    assert batches.p95 < 0.5
    assert without.p95 > 5.0
    assert batches.batch > 1.5


@pytest.mark.parametrize("model", ["tiny.en", "small"])
def test_waiting_for_company_makes_transcripts_later_and_two_batches_at_once_sooner(model: str) -> None:
    today = Policy("today")
    policies = (today, replace(today, wait=0.02), replace(today, parallel=2))
    at_once, waiting, in_parallel = (simulated(policy, WHISPER[model], A10G, 128, 30.0) for policy in policies)
    assert waiting.batch > at_once.batch
    assert waiting.p50 > at_once.p50 > in_parallel.p50
    assert waiting.p95 > at_once.p95 > in_parallel.p95
