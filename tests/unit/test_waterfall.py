"""A turn's waterfall: what the client is told, and what goes into the node's metrics."""

from server.observability.metrics import REGISTRY
from server.observability.waterfall import Waterfall


def spoken_turn() -> Waterfall:
    waterfall = Waterfall(speech_end=100.0)
    waterfall.mark("endpointing", 100.5)
    waterfall.mark("stt", 100.45)  # recognition was begun at the pause, and was done before the turn's end
    waterfall.mark("llm_first_token", 100.7)
    waterfall.mark("llm_first_clause", 100.8)
    waterfall.mark("tts_first_audio", 101.0)
    return waterfall


def total(metric: str, stage: str) -> tuple[float, float]:
    """How often a histogram was observed, and the seconds in sum."""
    labels = {"stage": stage} if stage else {}
    values = (REGISTRY.get_sample_value(f"{metric}_{end}", labels) for end in ("count", "sum"))
    count, seconds = (value or 0.0 for value in values)
    return count, seconds


def added(metric: str, waterfall: Waterfall, stage: str = "") -> tuple[float, float]:
    """What observing the waterfall adds to a histogram."""
    count, seconds = total(metric, stage)
    waterfall.observe()
    count_after, seconds_after = total(metric, stage)
    return count_after - count, round(seconds_after - seconds, 6)


def test_stages_are_told_in_ms_from_the_end_of_speech() -> None:
    assert spoken_turn().stages_ms() == {
        "endpointing": 500.0,
        "stt": 450.0,
        "llm_first_token": 700.0,
        "llm_first_clause": 800.0,
        "tts_first_audio": 1000.0,
    }


def test_only_the_first_time_counts() -> None:
    waterfall = Waterfall(100.0)
    assert "stt" not in waterfall
    waterfall.mark("stt", 100.1)
    waterfall.mark("stt", 100.9)
    assert "stt" in waterfall
    assert waterfall.stages_ms() == {"stt": 100.0}


def test_each_stage_counts_by_what_it_took_itself() -> None:
    assert added("voice_turn_stage_seconds", spoken_turn(), "endpointing") == (1, 0.5)
    assert added("voice_turn_stage_seconds", spoken_turn(), "stt") == (1, 0.0)
    assert added("voice_turn_stage_seconds", spoken_turn(), "llm_first_token") == (1, 0.2)
    assert added("voice_turn_stage_seconds", spoken_turn(), "tts_first_audio") == (1, 0.2)


def test_a_stage_that_was_not_reached_does_not_count() -> None:
    waterfall = Waterfall(100.0)
    waterfall.mark("llm_first_token", 100.2)
    assert added("voice_turn_stage_seconds", waterfall, "llm_first_clause") == (0, 0.0)


def test_a_spoken_turn_counts_from_voice_to_voice() -> None:
    assert added("voice_to_voice_seconds", spoken_turn()) == (1, 1.0)


def test_an_answer_to_something_typed_does_not() -> None:
    waterfall = Waterfall(100.0)
    waterfall.mark("llm_first_token", 100.2)
    waterfall.mark("tts_first_audio", 100.3)
    assert added("voice_to_voice_seconds", waterfall) == (0, 0.0)
