"""What a device's parts, measured one by one, say of the whole: on parts whose costs are known."""

import pytest

from server.bench.simulation.costs import PROMPT_TOKENS, reckoned
from server.bench.simulation.measured import fitted
from server.bench.tts_report import Ceilings, HopProfile, Level, StepProfile, TtsReport
from tests.bench.predicted import markdown

_COSTS = reckoned("A10G", "windowed", "eager")


def report() -> TtsReport:
    """Of an A10G as it is reckoned, whose parts were measured without an error."""
    without_vocoder = _COSTS.hop_seconds(50, PROMPT_TOKENS + 150, 0)
    level = Level(16, 90.0, 130.0, 1, 1000, 15.9, 0.03, 400.0, 5.5, 1.2, 9000.0)
    return TtsReport(
        machine="A10G",
        weights="random, full shape: speed only",
        flow="windowed",
        parts="eager",
        ceilings=Ceilings(480e9, 40e12),
        upstream_audio_seconds_per_second=3.0,
        row_mib=96.0,
        capacity=20,
        levels=[level],
        steps=[StepProfile(rows, _COSTS.step_seconds(rows), 1) for rows in (1, 32, 128)],
        hops=[HopProfile(8, 8 * without_vocoder, 1, 8 * 100 * _COSTS.vocoder_frame, 1)],
    )


def test_the_costs_of_a_device_are_found_from_its_parts() -> None:
    found = fitted(report())

    assert found.step_seconds(64) == pytest.approx(_COSTS.step_seconds(64))
    assert found.vocoder_frame == pytest.approx(_COSTS.vocoder_frame)
    # Of two parts of the flow's costs, tokens and pairs of tokens, only the sum is measured.
    assert found.hop_seconds(25, 300, 50) == pytest.approx(_COSTS.hop_seconds(25, 300, 50), rel=0.05)


def test_every_level_is_shown_measured_and_predicted() -> None:
    shown = markdown([report()])

    assert "| windowed, eager | 16 | 130, " in shown
    assert "0.1%, " in shown
