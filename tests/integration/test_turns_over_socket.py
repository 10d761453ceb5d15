"""What callers of voice servers suffer from most, tried on a real node: real speech over a real socket, real voice
detector, turn model, recogniser and voice; only the language model is a stand-in. The same in virtual time, with many
more variants, is in `tests/scenario`.

Nothing here depends on how fast the machine is. Words may be known a second late: no pause is longer than what is
waited for without them, and what comes into an answer comes early into a long one.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from server.audio import Samples
from server.audio.formats import AudioFormat, Encoder
from server.bench.turns.noises import far, synthetic_noises
from server.bench.turns.word_gaps import Pause, joined, opened
from server.client.caller import WIRE_RATE, samples_from
from server.client.playout import first_audible, last_audible
from server.client.transcripts import DIGITS, word_errors, words
from tests.support.clips import BUNDLED
from tests.support.live_call import LiveCall, live_call
from tests.support.node import NodeProcess
from tests.support.openai_llm_standin import Answer, OpenAiStandin, Request, Stall, by_rules, last_text
from tests.support.phone import Phone, phone, voice_of

STORY, GRASS, NAME = "Tell me a story.", "What is the color of grass?", "My name is Peter."
TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)
NOTICE = "This call is recorded for training and for quality, as the law says. The recording is kept for one year."
RULES: dict[str, Answer] = {"story": TALE, "grass": "Green.", "name": "Nice to meet you."}
SHORTER_THAN_A_SECOND = 0.9
TELEPHONE_NUMBER = "5550143"


@pytest.fixture(autouse=True)
def model(answers: OpenAiStandin) -> OpenAiStandin:
    answers.answer = by_rules(RULES, otherwise=lambda _: "All right.")
    return answers


async def at_once(*calls: Coroutine[Any, Any, None]) -> None:
    """Several calls, played at the same time."""
    async with asyncio.TaskGroup() as tasks:
        for call in calls:
            tasks.create_task(call)


def recorded(name: str) -> Samples:
    return samples_from(BUNDLED / "turns" / name)


async def said_with_pauses(*parts: str, pause: float = SHORTER_THAN_A_SECOND) -> Samples:
    return joined([await voice_of(part) for part in parts], pause)[0]


def with_pause(samples: Samples, gap: Pause) -> Samples:
    """A recording in which the gap between two words is made a pause."""
    return opened(samples, gap, SHORTER_THAN_A_SECOND - (gap.end - gap.start))


def users(request: Request) -> str:
    """All that the caller has said, as a request to the model has it."""
    return " ".join(message["content"] for message in request["messages"] if message["role"] == "user")


# --- when is a turn over?


async def is_one_turn(node: NodeProcess, said: Samples, text: str, errors: int) -> None:
    async with phone(node) as line:
        await line.say(said)
        early = len(line.all("input_audio_buffer.committed"))
        await line.until("conversation.item.input_audio_transcription.completed", early + 1)
        await node.until(lambda: len(line.logged(node, "turn_ended")) == early + 1)
        ended, *_ = line.logged(node, "turn_ended")
    assert not early, f"{line.heard!r} was taken for a turn: {ended}"
    assert word_errors(text, line.heard) <= errors, line.heard


async def test_a_hesitation_does_not_end_the_turn(node: NodeProcess) -> None:
    """livekit/agents#3427: the caller thinks of the next word, and is answered."""
    keywords = "Please enter one or more keywords separated by star and then press the pound key."
    looking_for = "If this is the person you are looking for press one now, otherwise please press star now."
    await at_once(
        is_one_turn(node, with_pause(recorded("demo-enterkeywords.wav"), Pause(5.3, 5.4)), keywords, 2),
        is_one_turn(node, with_pause(recorded("dir-instr.wav"), Pause(2.31, 2.55)), looking_for, 3),
        is_one_turn(
            node,
            await said_with_pauses("I would like a sandwich and", "a cup of tea."),
            "I would like a sandwich and a cup of tea.",
            2,
        ),
        is_one_turn(
            node,
            await said_with_pauses("I am looking for a, uh,", "railway station."),
            "I am looking for a railway station.",
            3,
        ),
    )


async def test_long_speech_with_pauses_is_one_turn_of_whole_words(node: NodeProcess) -> None:
    """livekit/agents#1303: who goes on after a pause is answered late, or not at all."""
    parts = ("I am calling because", "I have lost my bag and", "I would like to", "know where it is.")
    await is_one_turn(node, await said_with_pauses(*parts, pause=0.7), " ".join(parts), 4)


async def test_a_spelled_telephone_number_is_one_turn_even_over_a_telephone(node: NodeProcess) -> None:
    """livekit/agents#3701, unmute#130: cut off in the middle of a number."""
    said, _ = joined([recorded(f"digit-{digit}.wav") for digit in TELEPHONE_NUMBER], 0.65)
    text = " ".join(DIGITS[int(digit)] for digit in TELEPHONE_NUMBER)
    await at_once(is_one_turn(node, said, text, 1), is_one_turn_over_a_telephone(node, said, text))


async def is_one_turn_over_a_telephone(node: NodeProcess, said: Samples, text: str) -> None:
    pcmu = {"type": "audio/pcmu"}
    hears = {"format": pcmu, "transcription": {"model": "default"}, "turn_detection": {"type": "semantic_vad"}}
    async with live_call(node.websocket, patience=30.0) as line:
        await line.update(audio={"input": hears, "output": {"format": pcmu}})
        await speak_paced(line, Encoder(AudioFormat.of("audio/pcmu"), WIRE_RATE).encode(said.tobytes()), 8_000)
        await speak_paced(line, b"\xff" * 32_000, 8_000)
        heard = await line.until("conversation.item.input_audio_transcription.completed")
    assert word_errors(text, heard["transcript"]) <= 2, heard["transcript"]


async def speak_paced(line: LiveCall, audio: bytes, bytes_per_second: int) -> None:
    step = bytes_per_second // 10
    for start in range(0, len(audio), step):
        await line.append(audio[start : start + step])
        await asyncio.sleep(0.1)


async def test_a_finished_question_is_answered_for_what_it_is_and_not_for_a_silence(node: NodeProcess) -> None:
    """livekit/agents#3701: where hesitation is waited for, every answer is late."""
    question = await voice_of(GRASS)
    async with phone(node) as line:
        for number in range(1, 6):
            await line.say(question)
            await line.listen_to_the_end(number)
            reasons = await reasons_of_ends(node, line, number)
            if reasons[-1] != "unjudged":  # where the recogniser is late, it is asked once more
                break
    assert reasons[-1] == "finished"
    assert set(line.answers) == {("completed", "Green.")}


async def reasons_of_ends(node: NodeProcess, line: Phone, turns: int) -> list[str]:
    await node.until(lambda: len(line.logged(node, "turn_ended")) == turns)
    return [ended["reason"] for ended in line.logged(node, "turn_ended")]


async def test_who_goes_on_after_the_end_of_their_turn_gets_one_answer_to_all_of_it(
    node: NodeProcess, model: OpenAiStandin
) -> None:
    """livekit/agents#3418, livekit/agents-js#2059: an answer to the first half is given, or nothing at all."""
    model.answer = lambda request: "Paris and Madrid." if "spain" in last_text(request).lower() else Stall()
    cancelled = model.cancelled
    async with phone(node) as line:
        await line.say(await voice_of("What is the capital of France?"))
        await node.until(lambda: any("France" in users(request) for request in model.requests))
        await line.say(await voice_of("And of Spain?"))
        await line.until_holds(lambda: ("completed", "Paris and Madrid.") in line.answers)
    in_vain = [request for request in model.requests if "spain" not in last_text(request).lower()]
    await node.until(lambda: model.cancelled - cancelled >= len(in_vain) > 0)
    *_, last = model.requests
    assert word_errors("What is the capital of France? And of Spain?", users(last)) <= 2
    assert not [message for message in last["messages"] if message["role"] == "assistant"]
    assert [status for status, _ in line.answers[:-1]] == ["cancelled"] * (len(line.answers) - 1)
    assert len(line.spoken_by) == 1


async def test_a_television_does_not_keep_a_turn_open_nor_begin_one(node: NodeProcess) -> None:
    """pipecat#670: while it is on, the caller is never answered, or it is."""
    weather = await voice_of("And now the weather for the north of the country. It will rain in the afternoon.")
    async with phone(node) as line:
        await line.say(np.concatenate([await voice_of(GRASS), far([weather]), far([weather])]))
        assert line.answers == [("completed", "Green.")]  # while it is still on
        assert len(line.all("input_audio_buffer.speech_started")) == 1


async def test_the_first_word_of_a_call_is_heard(node: NodeProcess) -> None:
    """livekit/agents#5932, pipecat#984: who speaks as soon as the line is open loses a word."""
    said = await voice_of("Peter is my name.")
    audible = said[first_audible(said) :]
    async with live_call(node.websocket, greeted=False, patience=30.0) as line:
        await line.send(
            "session.update", session={"type": "realtime", "audio": {"input": {"transcription": {"model": "default"}}}}
        )
        await line.say(audible.tobytes())
        started = await line.until("input_audio_buffer.speech_started")
        heard = await line.until("conversation.item.input_audio_transcription.completed")
    assert started["audio_start_ms"] == 0
    assert words(heard["transcript"]) == words("Peter is my name.")


async def test_a_short_word_right_after_the_answer_is_heard(node: NodeProcess, model: OpenAiStandin) -> None:
    """googleapis/python-genai#2903, pipecat#4279: "yes" is swallowed, and the caller thinks that the line is dead."""
    model.answer = by_rules({"table": "Shall I book the table for you?", "yes": "It is booked."})
    async with phone(node) as line:
        await line.say(await voice_of("I need a table for two."))
        await line.listen_to_the_end(1)
        await line.say(await voice_of("Yes."))
        await line.until("response.done", 2)
    assert line.answers == [("completed", "Shall I book the table for you?"), ("completed", "It is booked.")]


# --- what does not stop the answer


async def test_neither_a_backchannel_nor_a_noise_stops_the_answer(node: NodeProcess) -> None:
    """A "mhm" (bolna#223, livekit/agents#4039), a cough or somebody else in the room (pipecat#1084, #670) stop the bot,
    or are answered.
    """
    weather = await voice_of("And now the weather for the north of the country.")
    noises = synthetic_noises()
    await at_once(
        hears_the_tale_through(node, *[await voice_of(said) for said in ("Okay.", "Mhm.", "Right.")]),
        hears_the_tale_through(node, noises["cough"], far([weather]), noises["door"]),
    )


async def hears_the_tale_through(node: NodeProcess, *sounds: Samples) -> None:
    async with phone(node) as line:
        await line.say(await voice_of(STORY))
        await line.listen(1, 1.0)
        for sound in sounds:
            await line.say(sound, np.zeros(2 * WIRE_RATE, np.int16))
        await line.listen_to_the_end(1)
        assert len(line.all("input_audio_buffer.speech_started")) == 1
        await line.say(np.zeros(WIRE_RATE, np.int16), await voice_of(GRASS))  # and not one sound is answered next
        await line.listen_to_the_end(2)
    judged = {judgement["judgement"] for judgement in line.logged(node, "voice_judged")}
    assert judged
    assert judged <= {"backchannel", "noise"}
    assert line.answers == [("completed", TALE), ("completed", "Green.")]


async def test_an_uninterruptible_notice_is_heard_to_its_end_and_the_caller_is_answered_then(
    node: NodeProcess, model: OpenAiStandin
) -> None:
    """rapidaai/voice-ai#280: the greeting stops all the same. livekit/agents#850: and nobody is heard after it."""
    model.answer = by_rules(RULES, otherwise=lambda _: NOTICE)
    async with phone(node) as line:
        await line.caller.send({"type": "response.create", "response": {"x_interruptible": False}})
        await line.listen(1, 1.0)
        await line.say(await voice_of(GRASS))
        await line.until("response.done", 2)
    assert line.answers == [("completed", NOTICE), ("completed", "Green.")]
    kinds = [event["type"] for event in line.events]
    assert kinds.index("input_audio_buffer.speech_started") > kinds.index("response.done"), "clients drop their audio"


async def test_with_interruption_off_the_caller_is_heard_at_once_and_answered_after_the_answer(
    node: NodeProcess, model: OpenAiStandin
) -> None:
    """livekit/agents#2368: with interruptions off, the caller is not heard any more."""
    model.answer = by_rules(RULES | {"story": NOTICE})
    async with phone(node, interrupt_response=False) as line:
        await line.say(await voice_of(STORY))
        await line.listen(1, 1.0)
        await line.say(await voice_of(GRASS))
        await line.until("response.done", 2)
    assert line.answers == [("completed", NOTICE), ("completed", "Green.")]
    kinds = [event["type"] for event in line.events]
    second = len(kinds) - 1 - kinds[::-1].index("input_audio_buffer.speech_started")
    assert second < kinds.index("response.done")


# --- what stops it


async def test_interruptions_stop_the_answer_one_after_the_other_and_are_heard_from_their_first_word(
    node: NodeProcess, model: OpenAiStandin
) -> None:
    """livekit/agents#3261: the first words of an interruption are lost. #3418: after it, the bot is silent."""
    async with phone(node) as line:
        for number, said in enumerate((STORY, "No, tell me another story.", GRASS), 1):
            await line.say(await voice_of(said))
            await line.listen(number, 1.0)
        await line.until("response.done", 3)
    assert [status for status, _ in line.answers] == ["cancelled", "cancelled", "completed"]
    assert line.answers[-1][1] == "Green."
    assert word_errors(f"{STORY} No, tell me another story. {GRASS}", line.heard) <= 1
    told = [message["content"] for message in model.requests[-1]["messages"] if message["role"] == "assistant"]
    assert len(told) == 2
    assert all(TALE.startswith(text) and text != TALE for text in told)


async def test_two_calls_that_interrupt_at_once_do_not_mix(node: NodeProcess, model: OpenAiStandin) -> None:
    """bolna#168: what one caller hears is another one's."""
    forecast = "The morning will be grey and wet. At noon the sun comes out, and the wind turns to the west. " * 2
    model.answer = by_rules(RULES | {"weather": forecast.strip()})

    async def interrupts(first: str, then: str, answer: str) -> None:
        async with phone(node) as line:
            await line.say(await voice_of(first))
            await line.listen(1, 1.0)
            await line.say(await voice_of(then))
            await line.until("response.done", 2)
        assert line.answers[0][0] == "cancelled"
        assert line.answers[1] == ("completed", answer)
        assert word_errors(f"{first} {then}", line.heard) <= 1

    await at_once(
        interrupts(STORY, GRASS, "Green."), interrupts("What is the weather like?", NAME, "Nice to meet you.")
    )
    assert not [users(request) for request in model.requests if {"story", "weather"} <= {*words(users(request))}]


async def test_an_interruption_whose_microphone_is_muted_in_the_middle_of_a_word_is_answered(
    node: NodeProcess, model: OpenAiStandin
) -> None:
    """pipecat#4124: no more audio comes, not even silence, and the turn never ends."""
    model.answer = by_rules({"stop": "As you like."} | RULES)
    said = await voice_of("Stop it please and tell me something about Alexander.")
    async with live_call(node.websocket, patience=30.0) as line:
        await line.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
        await line.type(STORY)
        await line.until("response.output_audio.delta")
        await line.say(said[: last_audible(said) - WIRE_RATE // 3].tobytes(), silence=0.0)
        stopped = (await line.until("response.done"))["response"]
        answered = (await line.until("response.done"))["response"]
    assert stopped["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert answered["status"] == "completed"
    assert "stop" in words(users(model.requests[-1]))


# --- a false stop


async def test_a_sound_before_the_answer_is_heard_does_not_lose_the_answer(
    node: NodeProcess, model: OpenAiStandin
) -> None:
    """livekit/agents#1229: a cough after the question, and the caller waits for ever."""
    model.answer, model.token_seconds = lambda _: "It is noon.", 1.0
    async with phone(node) as line:
        await line.say(await voice_of("What is the time?"))
        await line.until("response.created")
        await line.say(await voice_of("Mhm."))
        await line.until_holds(lambda: ("completed", "It is noon.") in line.answers)
    assert users(model.requests[-1]).startswith("What is the time")


async def test_an_answer_that_was_stopped_by_a_sound_without_words_goes_on(
    node: NodeProcess, model: OpenAiStandin
) -> None:
    """livekit/agents#4039: the bot stops for nothing, and there is no more of it."""
    async with phone(node) as line:
        await line.say(await voice_of(STORY))
        await line.listen(1, 1.0)
        await line.say(await hum(5.0))
        await line.until_holds(lambda: len(line.answers) == 2)
    (stopped, begun), (status, rest) = line.answers
    assert (stopped, status) == ("cancelled", "completed")
    told, again = len(words(begun)), len(words(rest))
    assert words(TALE)[:told] == words(begun)
    assert words(TALE)[-again:] == words(rest)
    assert again < len(words(TALE)) <= told + again


async def hum(seconds: float) -> Samples:
    """Lips closed, and nothing said."""
    hummed = (await voice_of("Mmmmmmmm."))[round(0.4 * WIRE_RATE) : round(0.6 * WIRE_RATE)].astype(np.float64)
    fade = np.linspace(0.0, 1.0, WIRE_RATE // 100)
    whole = hummed
    while len(whole) < seconds * WIRE_RATE:
        overlap = whole[-len(fade) :] * (1 - fade) + hummed[: len(fade)] * fade
        whole = np.concatenate((whole[: -len(fade)], overlap, hummed[len(fade) :]))
    return whole.astype(np.int16)
