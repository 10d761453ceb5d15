"""Recognition beside synthesis: what one takes of the device the other lacks."""

from dataclasses import replace

import pytest

from server.bench.simulation.costs import reckoned
from tests.bench.one_device import shared


def test_half_a_device_takes_twice_as_long_and_its_host_does_not() -> None:
    whole = reckoned("A10G", "windowed", "eager")
    half = whole.beside(0.5)
    assert half.step_seconds(8) == pytest.approx(2 * whole.step_seconds(8))
    assert half.hop_seconds(25, 275, 50) == pytest.approx(2 * whole.hop_seconds(25, 275, 50))
    assert (half.render_host, half.step_host) == (whole.render_host, whole.step_host)
    assert whole.beside(0.0) == replace(whole)


def test_recognition_makes_the_voice_later_and_less_so_under_mps() -> None:
    sharing = shared("A10G", "windowed", "eager", "small", 48, seconds=60.0)
    assert 0.0 < sharing.share_on < sharing.share_off < 0.5
    first_audio = [figures.first_audio_p50_ms for figures in (sharing.alone, sharing.on, sharing.off)]
    assert first_audio == sorted(first_audio)
    assert sharing.off.busy > sharing.alone.busy
