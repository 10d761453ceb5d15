"""What clients set is taken, mapped or refused by name, and never passed over in silence where it matters."""

from typing import Any

import pytest

from server.audio.formats import AudioFormat
from server.conversation.conversation import Conversation
from server.dialects.dialect import Abilities, FieldsIgnored
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import Session
from server.llm.interface import ChatRequest
from tests.support.call import Call

INPUT = ("audio", "input")
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}


def updated(**session: Any) -> dict[str, Any]:
    """The session after these settings."""
    [event] = Call().client_sends("session.update", session=session)
    assert event["type"] == "session.updated", event
    return dict(event["session"])


def refused(call: Call | None = None, **session: Any) -> dict[str, Any]:
    """The error that these settings get."""
    [event] = (call or Call()).client_sends("session.update", session=session)
    assert event["type"] == "error", event
    return dict(event["error"])


# --- the names of the beta


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("pcm16", {"type": "audio/pcm", "rate": 24000}),
        ("g711_ulaw", {"type": "audio/pcmu"}),
        ("g711_alaw", {"type": "audio/pcma"}),
    ],
)
def test_audio_formats_by_their_old_names(name: str, wire: dict[str, Any]) -> None:
    """stackchan-ai-server#9: flat fields were taken without a word, and the call was deaf."""
    audio = updated(input_audio_format=name, output_audio_format=name)["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == wire


@pytest.mark.parametrize("field", ["input_audio_format", "output_audio_format"])
@pytest.mark.parametrize("value", ["mp3", "pcm_16", ""])
def test_an_unknown_old_format_is_refused_by_its_old_name(field: str, value: str) -> None:
    error = refused(None, **{field: value})
    assert error["param"] == f"session.{field}"
    assert "takes pcm16, g711_ulaw, g711_alaw" in error["message"]


@pytest.mark.parametrize(
    ("old", "path", "value"),
    [
        ({"voice": "alloy"}, ("audio", "output", "voice"), "alloy"),
        ({"speed": 1.5}, ("audio", "output", "speed"), 1.5),
        ({"turn_detection": None}, (*INPUT, "turn_detection"), None),
        ({"input_audio_noise_reduction": {"type": "near_field"}}, (*INPUT, "noise_reduction", "type"), "near_field"),
        ({"input_audio_transcription": {"model": "whisper-1"}}, (*INPUT, "transcription", "model"), "whisper-1"),
        ({"modalities": ["text"]}, ("output_modalities",), ["text"]),
        ({"modalities": ["audio", "text"]}, ("output_modalities",), ["audio"]),
        ({"max_response_output_tokens": 50}, ("max_output_tokens",), 50),
        ({"max_response_output_tokens": "inf"}, ("max_output_tokens",), "inf"),
        ({"temperature": 0.8}, ("x_temperature",), 0.8),
    ],
    ids=str,
)  # fmt: skip
def test_the_other_old_names(old: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    shown: Any = updated(**old)
    for name in path:
        shown = shown[name]
    assert shown == value


def test_a_new_name_wins_over_an_old_one() -> None:
    session = updated(voice="old", audio={"output": {"voice": "new"}})
    assert session["audio"]["output"]["voice"] == "new"


def test_what_an_old_name_leaves_out_stays() -> None:
    call = Call(audio={"input": {"transcription": {"model": "x"}}, "output": {"voice": "ann"}})
    [event] = call.client_sends("session.update", session={"turn_detection": {"type": "server_vad"}, "speed": 2})
    assert event["session"]["audio"]["input"]["transcription"]["model"] == "x"
    assert event["session"]["audio"]["output"]["voice"] == "ann"


def test_a_wrong_value_of_an_old_name_is_refused() -> None:
    assert refused(turn_detection={"type": "none"})["param"] == "session.audio.input.turn_detection.type"
    assert refused(voice="x", audio=5)["param"] == "session.audio"


def test_a_response_in_the_old_names() -> None:
    call = Call(output_audio_format="g711_ulaw")
    response = {"modalities": ["text"], "voice": "alloy", "output_audio_format": "g711_ulaw", "temperature": 0.3}
    [created] = call.client_sends("response.create", response=response | {"max_response_output_tokens": 9})
    assert created["response"]["output_modalities"] == ["text"]
    assert created["response"]["audio"]["output"]["voice"] == "alloy"
    assert (call.requests[-1].temperature, call.requests[-1].max_output_tokens) == (0.3, 9)


def test_a_response_has_its_own_format() -> None:
    call = Call()
    [created] = call.client_sends("response.create", response={"output_audio_format": "g711_ulaw"})
    assert created["response"]["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert call.conversation.active_response
    assert call.conversation.active_response.config.output_format == AudioFormat.of("audio/pcmu")
    call.bot_finishes()
    [created] = call.client_sends("response.create")
    assert "format" not in created["response"]["audio"]["output"]


@pytest.mark.parametrize(
    "wire", [{"type": "audio/pcma"}, *({"type": "audio/pcm", "rate": rate} for rate in (8000, 16_000, 24_000, 48_000))]
)
def test_every_format_may_be_a_responses_own(wire: dict[str, Any]) -> None:
    [created] = Call().client_sends("response.create", response={"audio": {"output": {"format": wire}}})
    assert created["response"]["audio"]["output"]["format"] == wire


# --- what reaches the model


def test_reasoning_and_parallel_calls_of_a_session_and_of_one_response() -> None:
    def asked(call: Call, **response: Any) -> ChatRequest:
        call.client_sends("response.create", response=response)
        request = call.requests[-1]
        call.bot_finishes()
        return request

    call = Call(reasoning={"effort": "low"}, parallel_tool_calls=False, tools=[TOOL])
    request = asked(call)
    assert (request.reasoning_effort, request.parallel_tool_calls) == ("low", False)
    request = asked(call, reasoning={"effort": "high"}, parallel_tool_calls=True)
    assert (request.reasoning_effort, request.parallel_tool_calls) == ("high", True)
    assert refused(call, reasoning={"effort": "much"})["param"] == "session.reasoning.effort"


# --- what the node can't do


@pytest.fixture
def limited() -> Call:
    """A call to a node that understands English alone and whose model calls no functions."""
    call = Call()
    wire = Session(id="sess_1", model="voicefleet", instructions="Be brief.")
    call.conversation = Conversation(wire.config(), call._new_id)
    abilities = Abilities(calls_functions=False, languages=frozenset({"en"}))
    call.dialect = OpenAiDialect(wire, call.conversation, call._new_id, abilities)
    return call


@pytest.mark.parametrize("transcription", [{}, {"model": "whisper-1", "language": "en"}, {"keywords": ["Ada"]}])
def test_of_the_transcription_a_client_is_shown_only_what_is_set(transcription: dict[str, Any]) -> None:
    assert (
        updated(audio={"input": {"transcription": transcription}})["audio"]["input"]["transcription"] == transcription
    )


@pytest.mark.parametrize("transcription", [{"language": "de"}, {"languages": ["en", "de"]}, {"language": "de-DE"}])
def test_a_language_that_the_recogniser_lacks_is_refused_at_once(limited: Call, transcription: dict[str, Any]) -> None:
    """faster-whisper#619."""
    error = refused(limited, audio={"input": {"transcription": transcription}})
    assert error["param"] == "session.audio.input.transcription.language"
    assert error["message"].endswith("lacks the language 'de'; takes 'en'")


@pytest.mark.parametrize("transcription", [{"language": "en-US"}, {"language": "auto"}, {}, None])
def test_one_that_it_has_is_taken(limited: Call, transcription: dict[str, Any] | None) -> None:
    [event] = limited.client_sends("session.update", session={"audio": {"input": {"transcription": transcription}}})
    assert event["type"] == "session.updated"


def test_tools_that_the_model_would_not_call_are_refused(limited: Call) -> None:
    error = refused(limited, tools=[TOOL])
    assert (error["code"], error["param"]) == ("tools_not_supported", "session.tools")
    [event] = limited.client_sends("response.create", response={"tools": [TOOL]})
    assert event["error"]["code"] == "tools_not_supported"
    [event] = limited.client_sends("session.update", session={"tools": []})
    assert event["type"] == "session.updated"


# --- what is wrong is told with what is right


@pytest.mark.parametrize(
    ("session", "takes"),
    [
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 1}}}}, "takes 8000 or 16000 or 24000 or 48000"),
        ({"audio": {"input": {"format": {"type": "mp3"}}}}, "takes 'audio/pcm' or 'audio/pcmu' or 'audio/pcma'"),
        ({"audio": {"input": {"format": "pcm16"}}}, "takes an object of type 'audio/pcm' or"),
        ({"audio": {"input": {"turn_detection": {"type": "none"}}}}, "takes 'server_vad' or 'semantic_vad'"),
        ({"turn_detection": {"type": "semantic_vad", "eagerness": "x"}}, "takes 'low' or 'medium' or 'high' or 'auto'"),
        ({"audio": {"output": {"speed": 9}}}, "takes a number from 0.25 to 4"),
        ({"output_modalities": ["smell"]}, "takes 'audio' or 'text'"),
        ({"tool_choice": "never"}, "takes 'auto' or 'none' or 'required' or an object"),
        ({"max_output_tokens": "lots"}, "takes a number from 1 to 4096 or 'inf'"),
        ({"truncation": "never"}, "takes 'auto' or 'disabled' or an object of type 'retention_ratio'"),
        ({"type": "dictation"}, "takes 'realtime' or 'transcription'"),
        ({"reasoning": {"effort": "much"}}, "takes 'none' or 'minimal' or 'low' or 'medium' or 'high' or 'xhigh'"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_choice_is_refused_with_the_right_ones(session: dict[str, Any], takes: str) -> None:
    message = refused(**session)["message"]
    assert all(part in message for part in takes.removeprefix("takes ").split(" or ")), message


def test_a_wrong_choice_of_an_event_too() -> None:
    item = {"type": "message", "role": "robot", "content": []}
    [event] = Call().client_sends("conversation.item.create", item=item)
    assert event["error"]["message"].endswith("takes 'assistant' or 'system' or 'user'")


# --- what means nothing here


def ignored(call: Call) -> list[tuple[str, ...]]:
    return [command.names for command in call.commands(FieldsIgnored)]


def test_fields_that_mean_nothing_here_are_noted_by_their_names() -> None:
    call = Call()
    call.client_sends(
        "session.update",
        session={
            "instuctions": "Be kind.",
            "audio": {"input": {"fromat": {}, "turn_detection": {"type": "server_vad", "treshold": 1}}},
            "tools": [{**TOOL, "strict": True}],
            "prompt": {"id": "pmpt_1", "variables": {"a": "b"}},
            "tracing": "auto",
        },
    )
    call.client_sends("response.create", response={"comit": True})
    assert ignored(call) == [
        ("prompt", "instuctions", "audio.input.fromat", "audio.input.turn_detection.treshold", "tools[].strict"),
        ("comit",),
    ]
    assert call.errors == []


def test_what_is_known_is_not_noted() -> None:
    call = Call()
    call.client_sends("session.update", session=updated(voice="alloy", tools=[TOOL]))
    assert ignored(call) in ([], [("prompt",)])


def test_no_more_than_a_few_names_are_noted_and_each_in_short() -> None:
    call = Call()
    call.client_sends("session.update", session={"x" * number: 1 for number in range(1, 100)})
    [names] = ignored(call)
    assert names == tuple("x" * number for number in range(1, 9))


@pytest.mark.parametrize("name", ["4111 1111 1111 1111", "vf_key.SECRET", "x" * 41, "Écoute", ""])
def test_a_name_that_may_be_anything_else_is_not_noted(name: str) -> None:
    call = Call()
    call.client_sends("session.update", session={name: 1, "audio": {"input": {name: 2}}})
    assert ignored(call) == [("?", "audio.input.?")]
