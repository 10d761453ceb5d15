"""The watermark in streamed audio: found as surely as upstream's own, with no delay and no click."""

from collections.abc import Sequence

import numpy as np
import perth
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from server.audio import g711
from server.workers.engines.chatterbox.watermark import Watermarker, WatermarkUnavailable
from tests.support.clips import BUNDLED, read_clips
from tests.support.voices import speech

RATE = 24_000
CPU = torch.device("cpu")
CLIPS = {clip.name: clip.seconds for clip in read_clips(BUNDLED)}

Audio = NDArray[np.float32]


@pytest.fixture(scope="module")
def clips() -> dict[str, Audio]:
    starts = np.cumsum([0, *CLIPS.values()])
    whole = speech(60)
    return {
        name: whole[round(start * RATE) : round((start + seconds) * RATE)]
        for (name, seconds), start in zip(CLIPS.items(), starts, strict=False)
    }


@pytest.fixture(scope="module")
def watermarker() -> Watermarker:
    return Watermarker(CPU)


@pytest.fixture(scope="module")
def upstream() -> perth.PerthImplicitWatermarker:
    return perth.PerthImplicitWatermarker()


def streamed(watermarker: Watermarker, samples: Audio, *sizes: int) -> Audio:
    """`samples` marked in chunks of these sizes, the last of which repeats."""
    state = watermarker.start()
    cuts = np.cumsum([*sizes[:-1], *[sizes[-1]] * (len(samples) // sizes[-1] + 1)])
    chunks = [torch.from_numpy(chunk) for chunk in np.split(samples, cuts)]
    marked = [watermarker.apply([state], [chunk])[0] for chunk in chunks]
    assert [len(chunk) for chunk in marked] == [len(chunk) for chunk in chunks]
    return torch.cat(marked).numpy()


def decibels(signal: Audio, noise: Audio) -> float:
    return float(10 * np.log10(np.sum(signal**2) / np.sum(noise**2)))


def certainty(upstream: perth.PerthImplicitWatermarker, samples: Audio) -> float:
    """What upstream's detector says: 1 where there is a watermark, 0 where there is none."""
    return float(upstream.get_watermark(samples, sample_rate=RATE, round=False))


@pytest.mark.parametrize("name", CLIPS)
def test_the_mark_is_found_as_surely_as_upstreams_and_is_as_soft(
    watermarker: Watermarker, upstream: perth.PerthImplicitWatermarker, clips: dict[str, Audio], name: str
) -> None:
    samples = clips[name]
    one_shot = upstream.apply_watermark(samples, sample_rate=RATE)
    distortion = decibels(samples[: len(one_shot)], one_shot - samples[: len(one_shot)])

    assert certainty(upstream, samples) < 0.5
    for sizes in [(7200,), (48_000,), (7200, 24_000)]:
        marked = streamed(watermarker, samples, *sizes)
        assert certainty(upstream, marked) > certainty(upstream, one_shot) - 0.02
        assert decibels(samples, marked - samples) == pytest.approx(distortion, abs=1.0)


def test_in_one_piece_it_is_upstreams_own(
    watermarker: Watermarker, upstream: perth.PerthImplicitWatermarker, clips: dict[str, Audio]
) -> None:
    samples = clips["vm-forward.wav"]
    one_shot = upstream.apply_watermark(samples, sample_rate=RATE)
    marked = streamed(watermarker, samples, len(samples))[: len(one_shot)]

    assert decibels(one_shot, marked - one_shot) > 60


def test_cutting_changes_the_mark_near_the_cuts_only(watermarker: Watermarker, clips: dict[str, Audio]) -> None:
    """The mark is 15 dB below the speech; what cutting changes of it is 15 dB below the mark at 1 s chunks."""
    samples = clips["vm-forward.wav"]
    whole = streamed(watermarker, samples, len(samples)) - samples
    cut = streamed(watermarker, samples, RATE) - samples

    assert decibels(whole, cut - whole) > 14
    unknown = round(0.214 * RATE)  # ahead of a sample that the mark depends on
    for settled in (slice(RATE - unknown), slice(RATE + 240, 2 * RATE - unknown)):
        assert np.allclose(whole[settled], cut[settled], atol=1e-5)


@pytest.mark.parametrize("size", [2400, 7200, 24_000])
def test_there_is_no_click_where_chunks_meet(watermarker: Watermarker, clips: dict[str, Audio], size: int) -> None:
    for samples in list(clips.values())[:3]:
        mark = streamed(watermarker, samples, size) - samples
        bends = np.abs(np.diff(mark, 2))
        at_seams = [bends[cut - 3 : cut + 2].max() for cut in range(size, len(bends), size)]
        within = np.abs(np.diff(streamed(watermarker, samples, len(samples)) - samples, 2)).max()
        assert max(at_seams, default=0.0) < 1.3 * within


def test_chunks_smaller_than_the_fade_join_without_a_click(watermarker: Watermarker) -> None:
    samples = speech(0.5)
    mark = streamed(watermarker, samples, 100) - samples
    whole = streamed(watermarker, samples, len(samples)) - samples

    assert np.abs(np.diff(mark)).max() < 1.5 * np.abs(np.diff(whole)).max()


def test_streams_do_not_change_one_another(watermarker: Watermarker, clips: dict[str, Audio]) -> None:
    sizes = (7200, 24_000, 4801)
    samples = list(clips.values())[: len(sizes)]

    together = _side_by_side(watermarker, samples, sizes)

    for audio, size, marked in zip(samples, sizes, together, strict=True):
        alone = streamed(watermarker, audio, size)
        assert decibels(alone - audio, marked - alone) > 90


def test_batches_of_any_make_up_are_of_few_shapes(watermarker: Watermarker, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = set()

    def marks(audio: torch.Tensor, frame_counts: torch.Tensor, loudest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        shapes.add(audio.shape)
        return torch.zeros_like(audio), loudest

    monkeypatch.setattr(watermarker, "_marks", marks)
    for rows in (1, 2, 3, 5, 8, 9, 16):
        for samples in range(7200, 48_001, 2400):
            watermarker.apply([watermarker.start() for _ in range(rows)], [torch.zeros(samples)] * rows)
    assert len(shapes) == 5 * 6, "1, 2, 4, 8 and 16 rows of 64, 96 ... 224 frames"


def _side_by_side(watermarker: Watermarker, samples: Sequence[Audio], sizes: Sequence[int]) -> list[Audio]:
    """Each stream marked in chunks of its size, all that are still running in one batch."""
    states = [watermarker.start() for _ in samples]
    marked: list[list[torch.Tensor]] = [[] for _ in samples]
    for step in range(max(len(audio) // size + 1 for audio, size in zip(samples, sizes, strict=True))):
        chunks = [audio[step * size : (step + 1) * size] for audio, size in zip(samples, sizes, strict=True)]
        running = [index for index, chunk in enumerate(chunks) if len(chunk)]
        batch = [torch.from_numpy(chunks[index]) for index in running]
        for index, part in zip(running, watermarker.apply([states[index] for index in running], batch), strict=True):
            marked[index].append(part)
    return [torch.cat(parts).numpy() for parts in marked]


def test_it_survives_a_telephone_line(
    watermarker: Watermarker, upstream: perth.PerthImplicitWatermarker, clips: dict[str, Audio]
) -> None:
    marked = streamed(watermarker, clips["vm-helpexit.wav"], RATE)
    line = g711.decode_ulaw(g711.encode_ulaw((resample_poly(marked, 1, 3) * 32767).astype(np.int16)))

    assert certainty(upstream, resample_poly(line.astype(np.float32) / 32767, 3, 1)) > 0.9


def test_silence_stays_silent(watermarker: Watermarker) -> None:
    assert not streamed(watermarker, np.zeros(30_000, np.float32), 7200).any()


def test_nothing_to_mark_is_nothing(watermarker: Watermarker) -> None:
    assert watermarker.apply([], []) == []
    (marked,) = watermarker.apply([watermarker.start()], [torch.zeros(0)])
    assert len(marked) == 0


def test_without_perths_network_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perth, "PerthImplicitWatermarker", None)  # as perth itself does without pkg_resources

    with pytest.raises(WatermarkUnavailable, match="setuptools below 81"):
        Watermarker(CPU)


def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Watermarker(CPU)

    assert capfd.readouterr().out == ""
