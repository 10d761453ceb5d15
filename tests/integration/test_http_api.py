"""The HTTP API by PyPI `openai` against a real node: real recogniser, real voice, keys with sessions inside."""

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, OpenAI

from server.client.playout import is_audible
from server.client.transcripts import words
from tests.support.node import NodeProcess

QUESTION = Path(__file__).parents[2] / "server" / "demo" / "question.wav"
WORDS = words("What is the capital city of France?")
pytestmark = pytest.mark.usefixtures("no_error_logged")


def over_http(node: NodeProcess) -> str:
    """The base URL of a node's clients that speak HTTP."""
    return node.base_url.replace("ws", "http", 1)


@pytest.fixture
def client(node: NodeProcess) -> Iterator[OpenAI]:
    with OpenAI(api_key="none", base_url=over_http(node), max_retries=0) as client:
        yield client


def refusal(error: pytest.ExceptionInfo[BadRequestError]) -> tuple[int, str | None, str | None]:
    return error.value.status_code, error.value.code, error.value.param


def test_the_models_of_the_node_are_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["voicefleet", "tiny.en", "hibari"]
    assert client.models.retrieve("hibari").owned_by == "voicefleet"
    with pytest.raises(APIStatusError, match="there are 'voicefleet', 'tiny") as refused:
        client.models.retrieve("whisper-1")
    assert (refused.value.status_code, refused.value.code) == (404, "model_not_found")


# --- transcriptions


def test_a_recording_is_transcribed(client: OpenAI, node: NodeProcess) -> None:
    answered = node.metric("voice_http_requests_total", path="/v1/audio/transcriptions", status="200")
    transcription = client.audio.transcriptions.create(
        file=QUESTION, model="gpt-transcribe", prompt="France", languages=["en-US", "en"], keywords=["capital", "city"]
    )
    assert words(transcription.text) == WORDS
    assert transcription.usage
    assert transcription.usage.type == "duration"
    assert abs(transcription.usage.seconds - 1.9) < 0.1
    assert node.metric("voice_http_requests_total", path="/v1/audio/transcriptions", status="200") == answered + 1
    assert node.metric("voice_http_upload_bytes") == 0


def test_a_transcription_can_be_text_or_tell_when_each_utterance_was_said(client: OpenAI) -> None:
    text = client.audio.transcriptions.create(file=QUESTION, model="whisper-1", response_format="text")
    assert words(str(text)) == WORDS
    verbose = client.audio.transcriptions.create(file=QUESTION, model="whisper-1", response_format="verbose_json")
    assert (words(verbose.text), verbose.language) == (WORDS, "en")
    assert verbose.segments
    assert [(words(each.text), each.end <= verbose.duration) for each in verbose.segments] == [(WORDS, True)]


def test_a_long_recording_is_told_utterance_by_utterance(client: OpenAI) -> None:
    with wave.open(str(QUESTION)) as file:
        parameters, question = file.getparams(), file.readframes(file.getnframes())
    long = io.BytesIO()
    with wave.open(long, "wb") as file:
        file.setparams(parameters)
        file.writeframes((question + bytes(3 * len(question) // 2 * 2)) * 3)
    events = list(
        client.audio.transcriptions.create(file=("long.wav", long.getvalue()), model="whisper-1", stream=True)
    )
    *deltas, done = events
    assert [words(event.delta) for event in deltas if event.type == "transcript.text.delta"] == [WORDS] * 3
    assert done.type == "transcript.text.done"
    assert words(done.text) == 3 * WORDS


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_a_recording_may_have_any_usual_rate_and_two_channels(client: OpenAI, rate: int) -> None:
    with wave.open(str(QUESTION)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        at = np.arange(0, len(samples), file.getframerate() / rate)
    resampled = np.interp(at, np.arange(len(samples)), samples).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((2, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(resampled, 2).tobytes())
    assert words(client.audio.transcriptions.create(file=("a.wav", out.getvalue()), model="x").text) == WORDS


def test_silence_has_no_text(client: OpenAI) -> None:
    assert client.audio.transcriptions.create(file=("silence.pcm", bytes(96_000)), model="whisper-1").text == ""
    assert client.audio.transcriptions.create(file=("empty.pcm", b""), model="whisper-1").text == ""


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("a.mp3", b"ID3" + bytes(500), {}, (400, "invalid_audio", "file")),
        ("a.wav", b"RIFF\xff\xff\xff\xffWAVEfmt ", {}, (400, "invalid_audio", "file")),
        ("a.pcm", bytes(640), {"language": "de"}, (400, "invalid_value", "language")),
        ("a.pcm", bytes(640), {"response_format": "srt"}, (400, "invalid_value", "response_format")),
    ],
)
def test_what_can_not_be_transcribed_is_named(
    client: OpenAI, name: str, content: bytes, options: dict[str, str], expected: tuple[int, str, str]
) -> None:
    with pytest.raises(BadRequestError, match="takes") as refused:
        client.audio.transcriptions.create(file=(name, content), model="whisper-1", extra_body=options)
    assert refusal(refused) == expected


# --- speech


def test_a_text_is_spoken_in_the_words_of_a_person(client: OpenAI) -> None:
    """And in WAV where the client leaves the format to the server, or asks for one that there is not."""
    text = "Good morning. It is seven in the evening in Paris, and the sun is shining."
    for options in ({}, {"response_format": "mp3"}):
        speech = client.audio.speech.create(model="tts-1", voice="alloy", input=text, extra_body=options)
        assert speech.response.headers["content-type"] == "audio/wav"
        assert speech.response.headers["x-request-id"].startswith("req_")
    heard = client.audio.transcriptions.create(file=("spoken.wav", speech.content), model="whisper-1")
    assert words(heard.text) == words(text)


def test_speech_is_raw_audio_at_24_khz_where_the_client_asks_for_it(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello there.", response_format="pcm", speed=1.5
    ) as speech:
        assert speech.headers["content-type"] == "audio/pcm"
        pcm = b"".join(speech.iter_bytes())
    assert is_audible(np.frombuffer(pcm, "<i2"))
    assert 0.3 < len(pcm) / 48_000 < 2.0


def test_speech_comes_in_events_where_the_client_asks_for_them(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello there.", response_format="wav", stream_format="sse"
    ) as speech:
        events = [json.loads(line.removeprefix("data: ")) for line in speech.iter_lines() if line]
    *deltas, done = [event["type"] for event in events]
    assert (set(deltas), done) == ({"speech.audio.delta"}, "speech.audio.done")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"input": ""}, (400, "invalid_value", "input")),
        ({"input": "🎉"}, (400, "invalid_value", "input")),
        ({"input": "x" * 4097}, (400, "invalid_value", "input")),
        ({"response_format": "midi"}, (400, "invalid_value", "response_format")),
        ({"speed": 9}, (400, "invalid_value", "speed")),
    ],
)
def test_what_can_not_be_spoken_is_named(
    client: OpenAI, options: dict[str, object], expected: tuple[int, str, str]
) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.audio.speech.create(model="tts-1", voice="alloy", **{"input": "Hello."} | options)  # type: ignore[arg-type]
    assert refusal(refused) == expected


def test_nothing_that_is_said_or_kept_secret_reaches_the_log(client: OpenAI, node: NodeProcess) -> None:
    client.audio.speech.create(model="tts-1", voice="alloy", input="The password is swordfish.")
    client.audio.transcriptions.create(file=QUESTION, model="whisper-1", prompt="swordfish")
    secret = client.realtime.client_secrets.create(session={"type": "realtime", "instructions": "swordfish"}).value
    log = "".join(node.log)
    assert not [word for word in ("swordfish", "capital city", secret[3:20]) if word in log]


# --- client secrets


async def test_a_call_begins_with_the_session_in_its_client_secret(client: OpenAI, node: NodeProcess) -> None:
    secret = client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"speed": 1.5}}},
    )
    assert secret.value.startswith("ek_")
    assert secret.session.type == "realtime"
    assert secret.session.instructions == "Be brief."
    browser = AsyncOpenAI(api_key=secret.value, websocket_base_url=node.base_url)
    async with browser.realtime.connect(model="any") as call:
        created = await call.recv()
        assert created.type == "session.created"
        session = created.session.to_dict()
        assert (session["instructions"], session["audio"]["output"]["speed"]) == ("Be brief.", 1.5)  # type: ignore[index]
        assert session["id"] != secret.session.id


async def test_a_client_secret_may_be_for_words_alone(client: OpenAI, node: NodeProcess) -> None:
    secret = client.realtime.client_secrets.create(session={"type": "transcription"})
    assert secret.session.type == "transcription"
    async with AsyncOpenAI(api_key=secret.value, websocket_base_url=node.base_url).realtime.connect(
        model="any"
    ) as call:
        created = await call.recv()
        assert (created.type, created.session.type) == ("session.created", "transcription")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"session": {"type": "realtime", "audio": {"output": {"speed": 99}}}},
            (400, "invalid_value", "session.audio.output.speed"),
        ),
        ({"session": {"type": "nonsense"}}, (400, "invalid_value", "session.type")),
        ({"expires_after": {"anchor": "created_at", "seconds": 9}}, (400, "invalid_value", "expires_after.seconds")),
        (
            {"session": {"type": "realtime", "instructions": "".join(map(chr, range(256, 9256)))}},
            (400, "session_too_large", "session"),
        ),
    ],
)
def test_a_session_that_no_call_could_have_makes_no_client_secret(
    client: OpenAI, options: dict[str, object], expected: tuple[int, str, str]
) -> None:
    with pytest.raises(BadRequestError, match="takes") as refused:
        client.realtime.client_secrets.create(**options)  # type: ignore[arg-type]
    assert refusal(refused) == expected
