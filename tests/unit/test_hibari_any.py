"""The CPU voice and any text at all: audio or a typed "unspeakable", and nothing else."""

from contextlib import aclosing, suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.workers.engine import EngineFailed, Unspeakable
from server.workers.engines.hibari import HibariEngine
from tests.support.speech import model_folder, voice

# Every plane, and what the library takes for numbers, money and marks.
_CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("0123456789０９²³¼½٣৪,.-$£€¥%'’:/ \n\tsthndrd()[]"),  # noqa: RUF001
    st.integers(0, 16).flatmap(
        lambda plane: st.characters(
            min_codepoint=plane << 16, max_codepoint=(plane << 16) + 0xFFFF, exclude_categories=["Cs"]
        )
    ),
)


async def _say(text: str) -> bytes:
    async with aclosing(voice().synthesize(text, "", 1.0)) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("number", ["{}.", "-{}", "${}", "{}%", "{}th", "{}'s", "{}.{}", "Call {} now."])
async def test_a_number_of_forty_digits_is_spoken_in_any_guise(number: str) -> None:
    assert len(await _say(number.format("7" * 40, "7" * 40))) > 2 * 24_000 * 5


@pytest.mark.parametrize("digits", [36, 37, 39, 40, 60, 500])
async def test_a_number_of_any_length_is_spoken(digits: int) -> None:
    assert len(await _say("7" * digits)) > 2 * 24_000 * digits / 10


async def test_a_number_that_can_not_be_read_as_one_is_read_digit_by_digit() -> None:
    assert await _say("7" * 40) == await _say(", ".join([" ".join("7" * 10)] * 4) + ",")


@settings(max_examples=25)
@given(text=st.text(_CHARACTERS, max_size=60) | st.text(_CHARACTERS, min_size=200, max_size=300))
async def test_any_text_gives_audio_or_is_unspeakable(text: str) -> None:
    with suppress(Unspeakable):
        assert len(await _say(text)) % 2 == 0


@pytest.mark.parametrize("unit", ["a", "9", "9,", "١", "½", "𝟗", "🎉", "ﷺ", "漢", "\u0301", "(", "-", "'", "x1"])  # noqa: RUF001
async def test_two_thousand_of_anything_give_audio_or_are_unspeakable(unit: str) -> None:
    async with aclosing(voice().synthesize((unit * 2000)[:2000], "", 1.0)) as chunks:
        with suppress(Unspeakable):
            await anext(chunks)


async def test_a_model_that_fails_is_the_engines_fault_and_not_the_text_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = HibariEngine(model_folder("hibari-heart") / "hibari.onnx", threads=1)

    def fails(phonemes: str, speed: float, seed: int) -> np.ndarray:
        raise RuntimeError(f"no memory for {phonemes}")

    monkeypatch.setattr(engine._hibari, "from_phonemes", fails)
    with pytest.raises(EngineFailed, match=r"^the voice's model failed$"):
        await anext(engine.synthesize("Hello.", "", 1.0))
    assert "no memory" not in "".join(capsys.readouterr())
