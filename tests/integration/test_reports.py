"""Troubles that people reported of voice agents, model servers and libraries, each handed to a running node.

Every test names the thread where others met it. The kinds that they belong to are tested beside the code that mends
them; here is what a caller, and the next prompt, see of each.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.audio.g711 import encode_ulaw
from tests.support.bedrock_standin import BedrockStandin
from tests.support.clips import BUNDLED, read_wav
from tests.support.in_thread import in_thread
from tests.support.live_call import LiveCall, answer_text, live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin, Raw, Verbatim, echo, last_text
from tests.support.proxy import Proxy
from tests.support.speech import resample

TOOLS = [
    {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {}}}},
    {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {"tz": {}}}},
]
PARIS, UTC = '{"city": "Paris"}', '{"tz": "UTC"}'


@pytest.fixture(scope="module")
def quick_node(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node with stand-ins for speech, which waits a second for a sign of life of its language model."""
    with running_node(**quick, VOICE_LLM_TIMEOUT_SECONDS="1", VOICE_LLM_CONTEXT_TOKENS="2000") as running:
        yield running


@pytest.fixture
async def call(quick_node: NodeProcess, answers: OpenAiStandin) -> Any:
    """A call; `answers` is the model behind it."""
    async with live_call(quick_node.websocket) as live:
        yield live


@pytest.fixture(scope="module")
def speech() -> bytes:
    """Something that the voice-activity detector takes for speech, at 24 kHz."""
    return resample(read_wav(BUNDLED / "vm-next.wav"), 16_000, 24_000)


def chunk(delta: Any = None, finish: str | None = None) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}]})


def says(*texts: str) -> Raw:
    return Raw((*(chunk({"content": text}) for text in texts), chunk(finish="stop"), "[DONE]"))


def calls(*pieces: dict[str, Any]) -> Raw:
    return Raw((*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk(finish="tool_calls"), "[DONE]"))


def called(response: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(item["name"], json.loads(item["arguments"])) for item in response["output"]]


async def spoken(call: LiveCall, text: str = "Well?") -> dict[str, Any]:
    """Type `text`; gives the spoken answer."""
    return await call.turn(text)


# --- 1 to 6: streams of models


async def test_a_name_that_comes_late_is_the_calls_name(call: LiveCall, answers: OpenAiStandin) -> None:
    """vercel/ai PR#16507."""
    answers.answer = lambda _: calls(
        {"index": 0, "id": "call_1", "function": {"name": "", "arguments": ""}},
        {"index": 0, "function": {"name": "get_weather", "arguments": PARIS}},
    )
    assert called(await call.turn("Weather?", tools=TOOLS)) == [("get_weather", {"city": "Paris"})]


async def test_two_calls_of_one_number_are_two_calls(call: LiveCall, answers: OpenAiStandin) -> None:
    """hermes-agent#62937."""
    answers.answer = lambda _: calls(
        {"index": 0, "function": {"name": "get_weather", "arguments": PARIS}},
        {"index": 0, "function": {"name": "get_time", "arguments": UTC}},
    )
    both = [("get_weather", {"city": "Paris"}), ("get_time", {"tz": "UTC"})]
    assert called(await call.turn("Both?", tools=TOOLS)) == both


async def test_one_call_at_a_time_where_a_session_wants_it(call: LiveCall, answers: OpenAiStandin) -> None:
    answers.answer = lambda _: calls(
        {"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": PARIS}},
        {"index": 1, "id": "b", "function": {"name": "get_time", "arguments": UTC}},
    )
    response = await call.turn("Both?", tools=TOOLS, parallel_tool_calls=False)
    assert called(response) == [("get_weather", {"city": "Paris"})]
    assert answers.requests[-1]["parallel_tool_calls"] is False


async def test_arguments_that_come_as_an_object_are_taken(call: LiveCall, answers: OpenAiStandin) -> None:
    """litellm PR#37792."""
    answers.answer = lambda _: calls(
        {"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    )
    assert called(await call.turn("Weather?", tools=TOOLS)) == [("get_weather", {"city": "Paris"})]


async def test_an_emoji_in_two_chunks_breaks_no_answer(call: LiveCall, answers: OpenAiStandin) -> None:
    """rakazo#416."""
    halves = tuple(
        f'{{"choices": [{{"delta": {{"content": "{text}"}}}}]}}' for text in ("Fine \\ud83d", "\\ude00 you?")
    )
    answers.answer = lambda _: Raw((*halves, chunk(finish="stop"), "[DONE]"))
    assert await call.ask("How are you?") == "Fine \N{GRINNING FACE} you?"


async def test_a_refusal_is_spoken(call: LiveCall, answers: OpenAiStandin) -> None:
    """langchain4j#5813."""
    answers.answer = lambda _: Raw((chunk({"refusal": "I can't help with that."}), chunk(finish="stop"), "[DONE]"))
    assert answer_text(await spoken(call)) == "I can't help with that."


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (Raw((chunk(finish="stop"), "[DONE]")), "empty_answer", "empty"),
        (says("  \n"), "hidden_answer", "hidden"),
        (says("<think>Nothing to say."), "hidden_answer", "hidden"),
        (Raw((chunk(finish="length"), "[DONE]")), None, "length"),
        (Raw((chunk(finish="content_filter"), "[DONE]")), None, "content_filter"),
    ],
    ids=["nothing", "blanks", "thoughts", "length", "filtered"],
)
async def test_an_answer_without_a_word_says_why(
    call: LiveCall, answers: OpenAiStandin, quick_node: NodeProcess, answer: Raw, code: str | None, reason: str
) -> None:
    answers.answer = lambda _: answer
    counted = quick_node.metric("voice_silent_answers_total", reason=reason)
    logged = len(quick_node.events("answer_silent"))
    response = await spoken(call)
    if code:
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == code
    else:
        assert response["status"] == "incomplete"
    assert quick_node.metric("voice_silent_answers_total", reason=reason) == counted + 1
    assert (await quick_node.logged("answer_silent", logged))["reason"] == reason
    answers.answer = echo
    assert (await call.ask("Still there?")).endswith("Still there?")


@pytest.mark.parametrize(
    "life",
    [
        f"data: {chunk({'reasoning_content': 'Hm.'})}\n\n".encode(),
        f"data: {chunk({'reasoning': 'Hm.'})}\n\n".encode(),
        b": OPENROUTER PROCESSING\n\n",
        b"event: ping\ndata: {}\n\n",
    ],
    ids=["reasoning_content", "reasoning", "comment", "ping"],
)
async def test_a_model_that_thinks_for_longer_than_the_time_out_is_waited_for(
    call: LiveCall, answers: OpenAiStandin, life: bytes
) -> None:
    """openclaw#64432."""
    answer = f"data: {chunk({'content': 'Done.'}, 'stop')}\n\ndata: [DONE]\n\n".encode()
    answers.answer, answers.token_seconds = (lambda _: Verbatim((*[life] * 5, answer))), 0.4
    assert await call.ask("Well?") == "Done."


# --- 7: what is not for the caller


async def test_thoughts_are_neither_spoken_nor_kept(call: LiveCall, answers: OpenAiStandin) -> None:
    """livekit/agents#1599."""
    answers.answer = lambda _: says(
        "<thin", "king>The user wants to know ", "the time.</think", "ing>\n\nIt is noon [1]."
    )
    response = await spoken(call)
    assert answer_text(response) == "It is noon."
    written = [event for event in call.events if "transcript" in event["type"]]
    assert "user wants" not in json.dumps(written)
    await call.send("conversation.item.retrieve", item_id=response["output"][0]["id"])
    assert (await call.until("conversation.item.retrieved"))["item"]["content"][0]["transcript"] == "It is noon."
    answers.answer = echo
    await call.ask("Thanks.")
    assert {"role": "assistant", "content": "It is noon."} in answers.requests[-1]["messages"]


# --- 8 to 10: histories that a strict service refuses


async def test_a_call_with_broken_arguments_spoils_no_later_request(call: LiveCall, answers: OpenAiStandin) -> None:
    """vllm#43995."""
    answers.strict = True
    answers.answer = lambda _: Raw(
        (
            chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": '{"ci'}}]}),
            chunk(finish="tool_calls"),
            "[DONE]",
        )
    )
    await call.turn("Weather?", tools=TOOLS)
    output = {"type": "function_call_output", "call_id": "a", "output": "Which city?"}
    await call.send("conversation.item.create", item=output)
    answers.answer = echo
    assert await call.ask("In Paris.") == "You said: In Paris."


async def test_two_turns_of_the_caller_in_a_row_are_one_message(call: LiveCall, answers: OpenAiStandin) -> None:
    """pipecat#2128."""
    answers.strict = True
    for text in ("When do you open?", "I mean on Sundays."):
        content = [{"type": "input_text", "text": text}]
        await call.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert await call.ask("Hello?") == "You said: When do you open?\nI mean on Sundays.\nHello?"


async def test_a_greeting_and_an_instruction_in_the_middle_are_taken(call: LiveCall, answers: OpenAiStandin) -> None:
    answers.strict = True
    await call.send("response.create", response={"output_modalities": ["text"], "instructions": "Greet the caller."})
    assert (await call.until("response.done"))["response"]["status"] == "completed"
    rule = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be quick."}]}
    await call.send("conversation.item.create", item=rule)
    await call.send("response.create", response={"output_modalities": ["text"]})
    assert (await call.until("response.done"))["response"]["status"] == "completed"


async def test_a_history_beyond_the_models_context_is_cut_and_the_call_goes_on(
    call: LiveCall, answers: OpenAiStandin, quick_node: NodeProcess
) -> None:
    """livekit/agents#3304."""
    answers.strict, answers.context_tokens = True, 150
    before = quick_node.metric("voice_context_items_left_out_total")
    for number in range(20):
        assert await call.ask(f"{number} {'word ' * 20}end") == f"You said: {number} {'word ' * 20}end"
    assert quick_node.metric("voice_context_items_left_out_total") > before
    assert len(answers.requests[-1]["messages"]) < 20, "of 40, and the instructions"


async def test_a_history_beyond_the_models_context_fails_where_the_client_wants_it(
    call: LiveCall, answers: OpenAiStandin
) -> None:
    answers.context_tokens = 60
    await call.update(truncation="disabled")
    responses = [await call.turn(f"{number} {'word ' * 20}", output_modalities=["text"]) for number in range(4)]
    assert responses[0]["status"] == "completed"
    assert responses[-1]["status"] == "failed"
    assert responses[-1]["status_details"]["error"]["code"] == "context_length_exceeded"


# --- 11 and 12: the caller's audio


async def test_a_turn_ends_though_its_audio_stops_in_the_middle(call: LiveCall, speech: bytes) -> None:
    """pipecat#4124."""
    await call.say(speech, silence=0.0)
    await call.until("input_audio_buffer.speech_stopped")
    assert (await call.until("response.done"))["response"]["status"] == "completed"


async def test_audio_is_taken_in_pieces_of_any_size(call: LiveCall, speech: bytes) -> None:
    """openai-cookbook PR#2977."""
    audio = speech + bytes(48_000)
    for start in range(0, len(audio), 1323):
        await call.append(audio[start : start + 1323])
    await call.until("input_audio_buffer.speech_stopped")
    assert (await call.until("response.done"))["response"]["status"] == "completed"
    assert not [event for event in call.events if event["type"] == "error"]


# --- 13 and 14: settings


async def test_a_session_in_the_betas_names_is_heard_and_answered_in_its_format(call: LiveCall, speech: bytes) -> None:
    """stackchan-ai-server#9."""
    await call.send(
        "session.update",
        session={
            "modalities": ["text", "audio"],
            "voice": "alloy",
            "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw",
            "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
            "temperature": 0.7,
            "max_response_output_tokens": 100,
        },
    )
    session = (await call.until("session.updated"))["session"]
    assert session["audio"]["input"]["format"] == session["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 300
    assert (session["output_modalities"], session["audio"]["output"]["voice"]) == (["audio"], "alloy")
    assert (session["max_output_tokens"], session["x_temperature"]) == (100, 0.7)
    pcm = resample(speech, 24_000, 8_000) + bytes(16_000)
    import numpy as np

    ulaw = encode_ulaw(np.frombuffer(pcm, "<i2"))
    for start in range(0, len(ulaw), 160):
        await call.send("input_audio_buffer.append", audio=b64encode(ulaw[start : start + 160]).decode())
    response = (await call.until("response.done"))["response"]
    assert response["status"] == "completed"
    assert [event for event in call.events if "input_audio_transcription.completed" in event["type"]]
    audio = b"".join(b64decode(e["delta"]) for e in call.events if e["type"] == "response.output_audio.delta")
    assert audio[:100].count(b"\xff") + audio[:100].count(b"\x7f") < 100, "a tone in mu-law, and no silence"


async def test_an_audio_format_that_nobody_knows_is_refused_by_name(call: LiveCall) -> None:
    await call.send("session.update", session={"input_audio_format": "mp3"})
    error = await call.error()
    assert error["param"] == "session.input_audio_format"
    assert "pcm16" in error["message"]


async def test_a_language_that_the_recogniser_lacks_is_refused_at_once(node: NodeProcess) -> None:
    """faster-whisper#619."""
    async with live_call(node.websocket) as call:
        for language in ("de", "de-DE"):
            await call.send("session.update", session={"audio": {"input": {"transcription": {"language": language}}}})
            error = await call.error()
            assert error["param"] == "session.audio.input.transcription.language"
            assert "takes 'en'" in error["message"]
        updated = await call.update(audio={"input": {"transcription": {"language": "en-US", "keywords": ["Ann"]}}})
        assert updated["session"]["audio"]["input"]["transcription"]["language"] == "en-US"


# --- 15 and 16: what the voice can't say as it is written


async def test_a_sentence_in_a_script_that_the_voice_lacks_is_not_lost(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    """Azure speech-sdk#2268."""
    answers.answer = lambda _: "Sure. 你好。 Bye now."
    async with live_call(node.websocket) as call:
        response = await spoken(call)
    assert response["status"] == "completed"
    assert answer_text(response) == "Sure. 你好。 Bye now."


async def test_an_answer_wholly_in_a_script_that_the_voice_lacks_is_no_silence(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: "你好。很高兴认识你。"
    async with live_call(node.websocket) as call:
        response = await spoken(call)
        audible = [event for event in call.events if event["type"] == "response.output_audio.delta"]
    assert response["status"] == "completed"
    assert audible


async def test_what_is_said_digit_by_digit_stays_written_in_the_transcript(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    """pipecat PR#5212, livekit/agents#1289; how it sounds is in test_spoken_identifiers."""
    answers.answer = lambda _: "Your PIN is 0042. Call 555-0123."
    async with live_call(node.websocket) as call:
        assert answer_text(await spoken(call)) == "Your PIN is 0042. Call 555-0123."


# --- 17 to 19: what is around the language model


@pytest.fixture
def bedrock() -> Iterator[BedrockStandin]:
    """Bedrock, on an event loop of its own."""
    with in_thread(BedrockStandin()) as standin:
        yield standin


def on_bedrock(quick: dict[str, str], standin: BedrockStandin, folder: Path) -> dict[str, str]:
    """Variables of a node that finds credentials in files of `folder` alone."""
    return {name: value for name, value in quick.items() if name != "VOICE_LLM"} | {
        "VOICE_LLM": "bedrock:us.amazon.nova-lite-v1:0",
        "VOICE_LLM_KEEP_WARM_SECONDS": "0.5",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": standin.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
    }


@pytest.mark.parametrize("printed", ["this is no JSON", "[]", '{"Version": 9}', ""])
async def test_a_credential_helper_that_prints_nonsense_ends_no_call_and_may_recover(
    quick: dict[str, str], bedrock: BedrockStandin, tmp_path: Path, printed: str
) -> None:
    """botocore#2779."""
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\necho '{printed}'\n")
    helper.chmod(0o755)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {helper}\n")
    with running_node(**on_bedrock(quick, bedrock, tmp_path)) as node:
        async with live_call(node.websocket) as call:
            response = await call.turn("Hello?", output_modalities=["text"])
            assert response["status"] == "failed"
            keys = {"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "example"}
            helper.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
            assert await call.ask("And now?") == "Hello there."
        warm = len(bedrock.requests)
        await node.until(lambda: len(bedrock.requests) > warm)  # what keeps the model warm lives on
        assert not node.events("session_failed")


async def test_keys_that_are_rotated_in_their_file_are_used(
    quick: dict[str, str], bedrock: BedrockStandin, tmp_path: Path
) -> None:
    """openclaw#77551."""

    def give(key_id: str) -> None:
        (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id={key_id}\naws_secret_access_key=x\n")

    give("AKIDOLD")
    bedrock.key_ids = {"AKIDOLD"}
    with running_node(**on_bedrock(quick, bedrock, tmp_path)) as node:
        async with live_call(node.websocket) as call:
            assert await call.ask("Hello?") == "Hello there."
            give("AKIDNEW")
            bedrock.key_ids = {"AKIDNEW"}
            assert await call.ask("And now?") == "Hello there."


async def test_a_proxy_of_the_environment_is_used_for_a_model_elsewhere(
    quick: dict[str, str], llm: OpenAiStandin
) -> None:
    """open-webui PR#2799."""
    port = int(llm.url.split(":")[2].split("/")[0])
    with in_thread(Proxy("127.0.0.1", port)) as proxy:
        variables = quick | {"VOICE_LLM": "openai:standin@http://models.example/v1", "HTTP_PROXY": proxy.url}
        with running_node(**variables) as node:
            async with live_call(node.websocket) as call:
                assert await call.ask("ping") == "You said: ping"
        assert set(proxy.asked) == {"models.example"}


# --- 20: interruption


async def test_a_cut_does_not_come_back_with_a_later_one(call: LiveCall, answers: OpenAiStandin) -> None:
    """twilio-samples realtime-python#45."""
    answers.answer = lambda _: "One two three four five six seven eight nine ten eleven twelve."
    response = await spoken(call)
    item_id = response["output"][0]["id"]
    texts = []
    for audio_end_ms in (1500, 5000):
        await call.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_end_ms)
        await call.send("conversation.item.retrieve", item_id=item_id)
        item = (await call.until("conversation.item.retrieved"))["item"]
        texts.append(item["content"][0]["transcript"])
    assert texts[0] == texts[1]
    assert 0 < len(texts[0]) < len(answer_text(response))
    answers.answer = last_text
    await call.ask("Go on.")
    assert {"role": "assistant", "content": texts[0]} in answers.requests[-1]["messages"]
