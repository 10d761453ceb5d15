"""The session object: partial updates, what is taken unseen, what settings mean."""

from typing import Any

import msgspec
import pytest

from server.audio.formats import AudioFormat
from server.conversation.config import ToolFiller, Truncation
from server.conversation.endpointing import TurnDetection
from server.conversation.turn_policy import Eagerness
from server.dialects.openai.session import Session, audio_format
from server.llm.interface import Tool


@pytest.fixture
def session() -> Session:
    return Session(id="sess_1", model="voicefleet", instructions="Be brief.")


def shown(session: Session) -> Any:
    return msgspec.to_builtins(session)


def test_the_defaults_are_those_of_the_protocol(session: Session) -> None:
    config = session.config()
    assert config.turn_detection == TurnDetection(threshold=0.5, prefix_padding=0.3, silence=0.5)
    assert config.response.modality == "audio"
    assert (config.response.instructions, config.response.tool_choice) == ("Be brief.", "auto")
    assert (config.response.max_output_tokens, config.response.temperature) == (None, None)
    assert (config.language, config.vocabulary) == ("", "")
    assert audio_format(session.audio.input.format) == AudioFormat.of("audio/pcm", 24_000)


def test_an_update_changes_what_it_names_and_nothing_else(session: Session) -> None:
    first = session.updated({"audio": {"output": {"voice": "marin", "speed": 1.5}, "input": {"turn_detection": None}}})
    second = first.updated({"audio": {"output": {"speed": 0.5}}, "instructions": "Be kind."})
    assert shown(second)["audio"]["output"]["voice"] == "marin"
    assert second.config().response.speed == 0.5
    assert second.config().turn_detection is None
    assert second.config().response.instructions == "Be kind."
    assert shown(session)["audio"]["output"]["voice"] == "default"


def test_null_is_the_default_again(session: Session) -> None:
    changed = session.updated(
        {
            "tools": [{"type": "function", "name": "f"}],
            "x_temperature": 0.5,
            "x_tool_filler": {"text": "One moment."},
            "max_output_tokens": 10,
            "audio": {"output": {"voice": "marin", "format": {"type": "audio/pcmu"}}},
        }
    )
    names = ("tools", "x_temperature", "x_tool_filler", "max_output_tokens", "type")
    nulls: dict[str, Any] = dict.fromkeys(names)
    restored = changed.updated(nulls | {"audio": {"output": {"voice": None, "format": None}}})
    assert shown(restored) == shown(session)
    assert shown(changed.updated({"audio": None}))["audio"] == shown(session)["audio"]


def test_null_leaves_instructions_and_model_as_they_are(session: Session) -> None:
    changed = session.updated({"instructions": "Be kind.", "model": "other"})
    again = changed.updated({"instructions": None, "model": None})
    assert (again.instructions, again.model) == ("Be kind.", "other")


def test_null_switches_turn_detection_and_transcription_off(session: Session) -> None:
    on = session.updated(
        {"audio": {"input": {"transcription": {"model": "whisper-1", "language": "de", "prompt": "Ada"}}}}
    )
    assert (on.config().language, on.config().vocabulary) == ("de", "Ada")
    off = on.updated({"audio": {"input": {"transcription": None, "turn_detection": None}}})
    assert off.audio.input.transcription is None
    assert off.config().turn_detection is None
    assert off.config().language == ""


def test_turn_detection_is_set_whole(session: Session) -> None:
    settings = {
        "type": "server_vad",
        "threshold": 0.7,
        "prefix_padding_ms": 100,
        "silence_duration_ms": 800,
        "idle_timeout_ms": 6000,
        "create_response": False,
        "interrupt_response": False,
    }
    changed = session.updated({"audio": {"input": {"turn_detection": settings}}})
    assert changed.config().turn_detection == TurnDetection(0.7, 0.1, 0.8, 6.0, False, False)
    again = changed.updated({"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}}})
    assert again.config().turn_detection == TurnDetection(threshold=0.7)


@pytest.mark.parametrize(
    ("eagerness", "meant"), [("high", "high"), ("medium", "medium"), ("auto", "medium"), ("low", "low")]
)
def test_semantic_vad_is_accepted(session: Session, eagerness: str, meant: Eagerness) -> None:
    settings = {"type": "semantic_vad", "eagerness": eagerness, "interrupt_response": False, "create_response": False}
    changed = session.updated({"audio": {"input": {"turn_detection": settings}}})
    assert shown(changed)["audio"]["input"]["turn_detection"] == settings
    assert changed.config().turn_detection == TurnDetection(
        create_response=False, interrupt_response=False, eagerness=meant
    )


@pytest.mark.parametrize(("eagerness", "meant"), [("auto", "medium"), ("low", "low"), (None, None)])
def test_server_vad_may_end_turns_by_what_was_said(session: Session, eagerness: str, meant: Eagerness) -> None:
    settings = {"type": "server_vad", "threshold": 0.7, "x_eagerness": eagerness}
    changed = session.updated({"audio": {"input": {"turn_detection": settings}}})
    assert changed.config().turn_detection == TurnDetection(0.7, eagerness=meant)


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ({"type": "audio/pcm"}, AudioFormat.of("audio/pcm", 24_000)),
        ({"type": "audio/pcm", "rate": 8000}, AudioFormat.of("audio/pcm", 8_000)),
        ({"type": "audio/pcm", "rate": 16000}, AudioFormat.of("audio/pcm", 16_000)),
        ({"type": "audio/pcm", "rate": 48000}, AudioFormat.of("audio/pcm", 48_000)),
        ({"type": "audio/pcmu"}, AudioFormat.of("audio/pcmu")),
        ({"type": "audio/pcma", "rate": 8000}, AudioFormat.of("audio/pcma")),
    ],
)
def test_formats(session: Session, wire: dict[str, Any], expected: AudioFormat) -> None:
    changed = session.updated({"audio": {"input": {"format": wire}, "output": {"format": wire}}})
    assert audio_format(changed.audio.input.format) == audio_format(changed.audio.output.format) == expected


def test_unknown_voices_models_and_fields_are_taken(session: Session) -> None:
    changed = session.updated(
        {
            "model": "gpt-realtime-99",
            "tracing": {"workflow_name": "x"},
            "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
            "include": ["item.input_audio_transcription.logprobs"],
            "prompt": {"id": "pmpt_1"},
            "audio": {
                "input": {"transcription": {"model": "whisper-99"}, "noise_reduction": {"type": "near_field"}},
                "output": {"voice": "nobody knows me"},
            },
        }
    )
    assert changed.config().response.voice == "nobody knows me"
    assert shown(changed)["tracing"] == {"workflow_name": "x"}


def test_what_a_session_says_of_reasoning_and_tools_is_taken(session: Session) -> None:
    changed = session.updated({"reasoning": {"effort": "low"}, "parallel_tool_calls": False})
    assert shown(changed)["reasoning"] == {"effort": "low"}
    assert changed.config().response.reasoning_effort == "low"
    assert changed.config().response.parallel_tool_calls is False
    assert changed.updated({"reasoning": None}).config().response.reasoning_effort is None


@pytest.mark.parametrize(
    ("truncation", "meant"),
    [
        ("auto", Truncation(None, 0.8)),
        ("disabled", None),
        ({"type": "retention_ratio", "retention_ratio": 0.5}, Truncation(None, 0.5)),
        (
            {"type": "retention_ratio", "retention_ratio": 0, "token_limits": {"post_instructions": 5000}},
            Truncation(5000, 0.0),
        ),
    ],
)
def test_truncation(session: Session, truncation: Any, meant: Truncation | None) -> None:
    assert session.updated({"truncation": truncation}).config().truncation == meant


@pytest.mark.parametrize(
    ("transcription", "language", "vocabulary"),
    [
        ({"language": "en-US"}, "en", ""),
        ({"language": "DE_de"}, "de", ""),
        ({"language": "nb"}, "no", ""),
        ({"language": "auto"}, "", ""),
        ({"languages": ["de", "en", "de-AT"]}, "de,en", ""),
        ({"language": "de", "languages": ["en"]}, "de,en", ""),
        ({"keywords": ["Ada", "Lovelace"]}, "", "Ada, Lovelace"),
        ({"prompt": "About Ada", "keywords": ["Lovelace"]}, "", "About Ada, Lovelace"),
    ],
)
def test_languages_and_words_to_expect(
    session: Session, transcription: dict[str, Any], language: str, vocabulary: str
) -> None:
    config = session.updated({"audio": {"input": {"transcription": transcription}}}).config()
    assert (config.language, config.vocabulary) == (language, vocabulary)


@pytest.mark.parametrize(("voice", "name"), [("marin", "marin"), ({"id": "voice_1"}, "voice_1"), ({}, "")])
def test_a_voice_has_two_forms(session: Session, voice: Any, name: str) -> None:
    assert session.updated({"audio": {"output": {"voice": voice}}}).config().response.voice == name


def test_the_server_says_what_a_session_is_called(session: Session) -> None:
    changed = session.updated({"id": "mine", "object": "mine"})
    assert (changed.id, changed.object) == ("sess_1", "realtime.session")


@pytest.mark.parametrize(
    ("modalities", "modality"), [(["text"], "text"), (["audio"], "audio"), (["text", "audio"], "audio"), ([], "audio")]
)
def test_modalities(session: Session, modalities: list[str], modality: str) -> None:
    assert session.updated({"output_modalities": modalities}).config().response.modality == modality


def test_a_filler_is_said_after_a_moment_unless_told_otherwise(session: Session) -> None:
    assert session.config().response.tool_filler is None
    changed = session.updated({"x_tool_filler": {"text": "One moment."}})
    assert changed.config().response.tool_filler == ToolFiller("One moment.", 0.8)
    again = changed.updated({"x_tool_filler": {"text": "Let me see.", "after_ms": 1500}})
    assert again.config().response.tool_filler == ToolFiller("Let me see.", 1.5)
    assert shown(again)["x_tool_filler"] == {"text": "Let me see.", "after_ms": 1500}


def test_tools_and_limits(session: Session) -> None:
    function = {"type": "function", "name": "f", "description": None, "parameters": None}
    changed = session.updated(
        {
            "tools": [function],
            "tool_choice": {"type": "function", "name": "f"},
            "max_output_tokens": 4096,
            "x_temperature": 0.0,
        }
    )
    response = changed.config().response
    assert response.tools == (Tool("f", "", {"type": "object", "properties": {}}),)
    assert response.tool_choice == "f"
    assert (response.max_output_tokens, response.temperature) == (4096, 0.0)
    assert changed.updated({"max_output_tokens": "inf"}).config().response.max_output_tokens is None
