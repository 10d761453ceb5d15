"""Voice while the assistant speaks: what stops it, what does not, and what becomes of the words."""

import base64

import pytest

from server.conversation import commands as c
from server.conversation import events as e
from server.llm.interface import AssistantText, SystemText, UserText
from tests.support.call import FRAME, TRANSCRIBED, Call, Sound, server_vad

_STORY = "Once upon a time there was a farmer who had three sons and a mill. The eldest went to sea."
_SECONDS = 10.0


def listening(seconds: float = 2.0, story: str = _STORY, **settings: object) -> Call:
    """A caller who has been hearing a story, which takes ten seconds, for so long."""
    call = Call(**{"audio": TRANSCRIBED, **settings})  # type: ignore[arg-type]  # as Call takes them
    call.caller_says("tell me a story")
    call.silence(1.0)
    call.bot_says(story, seconds=_SECONDS)
    call.silence(seconds)
    _ = call.events
    return call


def was_told(call: Call) -> list[str]:
    """The events since the story began, but for those of the story."""
    return [event for event in call.events if not event.startswith("response.output")]


def speaks(call: Call) -> bool:
    """Whether the answer goes on."""
    return call.answering is not None and call.conversation.playback.ahead(call.now) > 0


# --- noise


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.7, 1.5])
def test_a_cough_costs_nothing(seconds: float) -> None:
    # pipecat#1084: noise stops the bot. livekit/agents#4039: and it never resumes.
    call = listening()
    call.caller_makes_noise(seconds)
    call.silence(1.5)
    assert was_told(call) == []
    assert speaks(call)
    assert call.judged == ["noise"]
    assert call.history == [("user", "tell me a story"), ("assistant", _STORY)]


def test_words_are_wanted_soon_while_a_voice_goes_on_and_surely_once_it_pauses() -> None:
    call = listening()
    recognised = len(call.commands(c.Transcribe))
    call.caller_makes_noise(0.7)
    call.silence(1.0)
    asked = [command.fragment for command in call.commands(c.Transcribe)[recognised:]]
    assert asked[0]
    assert not asked[-1]


def test_what_may_be_an_answers_echo_is_recognised_surely() -> None:
    call = listening(seconds=0.2)
    recognised = len(call.commands(c.Transcribe))
    call.caller_makes_noise(0.7)
    assert not any(command.fragment for command in call.commands(c.Transcribe)[recognised:])


def test_a_click_too_short_for_a_word_is_not_recognised() -> None:
    call = listening()
    recognised = len(call.commands(c.Transcribe))
    call.caller_makes_noise(0.09)
    call.silence(1.0)
    assert len(call.commands(c.Transcribe)) == recognised
    assert call.judged == ["noise"]


def test_a_voice_from_afar_stops_nothing_however_long_it_talks() -> None:
    # pipecat#670: a television, or somebody else in the room, interrupts all the time
    call = listening()
    call.caller_says("and now the weather for the north of the country", seconds=4.0, sound="far")
    call.silence(1.0)
    assert was_told(call) == []
    assert speaks(call)
    assert call.judged == ["noise"]


def test_the_caller_is_heard_over_a_voice_from_afar() -> None:
    call = listening()
    call.caller_says("and now the weather", seconds=1.5, sound="far")
    call.caller_says("excuse me", seconds=0.6)
    assert not speaks(call)


def greeted(seconds: float) -> Call:
    """A caller who has not spoken yet, and has heard so much of a greeting of four seconds."""
    call = Call()
    call.client_sends("response.create")
    call.bot_says("Welcome to the city library, how may I help you today?", seconds=4.0)
    call.silence(seconds)
    _ = call.events
    return call


def test_a_voice_from_afar_stops_nothing_before_the_caller_has_spoken() -> None:
    # nothing to compare it with but what callers have on telephones
    call = greeted(1.5)
    call.caller_says("and now the weather", seconds=1.5, sound="far")
    call.silence(0.8)
    assert speaks(call)
    assert was_told(call) == []
    call.caller_says("hello there", seconds=0.6)
    assert not speaks(call)


def test_a_quiet_caller_is_heard_once_nobody_else_speaks() -> None:
    call = greeted(3.5)
    call.bot_finishes()
    call.caller_says("when are you open on Sundays", seconds=1.5, sound="far")
    call.silence(1.0)
    assert call.asked[-1] == UserText("when are you open on Sundays")


# --- backchannels


@pytest.mark.parametrize(
    "words", ["mhm", "Okay.", "right", "Uh-huh.", "yeah okay", "I see.", "Mm-hmm, right.", "Thank you."]
)
def test_a_backchannel_neither_ends_nor_starts_a_turn(words: str) -> None:
    # livekit/agents#4039: "mhm" stops the bot. bolna#223: and is answered.
    call = listening()
    call.caller_says(words, seconds=0.4)
    call.silence(1.5)
    assert was_told(call) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]
    assert speaks(call)
    assert len(call.requests) == 1
    assert call.judged == ["backchannel"]
    call.bot_finishes()
    call.silence(_SECONDS)
    assert len(call.requests) == 1
    assert call.history[1:] == [("assistant", _STORY), ("user", words)]


def test_a_client_that_creates_answers_by_itself_is_not_told_of_a_backchannel_as_of_a_turn() -> None:
    # it would answer what was committed
    turn_detection = {"type": "server_vad", "create_response": False}
    call = Call(audio={"input": {"turn_detection": turn_detection}})
    call.client_sends("response.create")
    call.bot_says(_STORY, seconds=_SECONDS)
    call.silence(2.0)
    _ = call.events
    call.caller_says("mhm", seconds=0.3)
    call.caller_makes_noise(0.3)
    call.silence(1.5)
    assert was_told(call) == ["conversation.item.added", "conversation.item.done"]
    assert speaks(call)


def test_words_heard_in_the_beginning_of_a_hum_are_not_believed() -> None:
    # tiny.en understands the first 0.25 s of "mm-hmm" as "No."
    call = listening()
    call.caller_says("no", seconds=0.2, sound="hum")
    call.caller_says("mhm", seconds=0.25, sound="hum")
    first = call.commands(c.Transcribe)[1]
    assert first.pcm
    call.silence(0.1)
    assert speaks(call)


def test_words_after_a_backchannel_interrupt() -> None:
    call = listening()
    call.caller_says("okay", seconds=0.4)
    call.caller_says("but what about the mill", seconds=1.0)
    assert not speaks(call)
    call.silence(1.0)
    assert call.asked[-1] == UserText("okay but what about the mill")


def test_what_might_yet_become_a_backchannel_is_waited_for() -> None:
    call = listening()
    call.caller_says("I", seconds=0.35)
    assert speaks(call)
    call.caller_says("see", seconds=0.2)
    call.silence(1.0)
    assert speaks(call)
    assert call.judged == ["backchannel"]


def test_backchannels_are_those_of_the_callers_language() -> None:
    for language, stops in (("de", False), ("en", True)):
        call = listening(audio={"input": {"transcription": {"language": language}}})
        call.caller_says("alles klar", seconds=0.5)
        call.silence(1.0)
        assert speaks(call) is not stops


@pytest.mark.parametrize("before_the_end", [0.8, 0.2])
@pytest.mark.parametrize("words", ["yes", "mhm", "okay"])
def test_an_affirmation_at_the_end_of_a_question_is_an_answer(words: str, before_the_end: float) -> None:
    question = "Shall I put you through to the reservations desk now?"
    call = listening(seconds=_SECONDS - before_the_end, story=question)
    call.bot_finishes()
    call.caller_says(words, seconds=0.3)
    call.silence(1.5)
    assert len(call.requests) == 2
    assert call.asked[-1] == UserText(words)
    assert call.client.transcripts.popitem()[1] == words


def test_an_affirmation_that_outlasts_a_statement_is_a_turn() -> None:
    call = listening(seconds=_SECONDS - 0.3)
    call.bot_finishes()
    call.caller_says("okay", seconds=0.4)
    call.silence(1.5)
    assert call.asked[-1] == UserText("okay")
    assert call.judged == ["turn"]


# --- real interruptions


@pytest.mark.parametrize("into", [1.0, 2.0])
@pytest.mark.parametrize("words", ["stop", "wait", "no", "hold on", "excuse me", "what about the mill", "Tuesday"])
def test_an_interruption_is_heard_within_400_ms(words: str, into: float) -> None:
    call = listening(into)
    began = call._audio
    for pcm in call.record(words, 0.8):
        if speaks(call):
            call.frame(0.95, pcm)
    assert (call._audio - began) * FRAME <= 0.4
    started = call.last("input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == pytest.approx(began * FRAME * 1000 - 300, abs=1)
    call.silence(1.0)
    assert call.judged == ["interruption"]


@pytest.mark.parametrize("words", ["stop", "no", "wait"])
def test_a_short_word_is_heard_at_its_end(words: str) -> None:
    # pipecat#3191, dograh#296, bolna#245: "stop, stop", and the bot speaks on
    call = listening()
    call.caller_says(words, seconds=0.2)
    call.silence(0.4)
    assert not speaks(call)
    call.silence(0.6)
    assert call.asked[-1] == UserText(words)
    assert call.last("response.done")["response"]["status_details"]["reason"] == "turn_detected"


def test_its_words_are_kept_from_their_beginning_and_recognised_once_more_at_their_end() -> None:
    # livekit/agents#3261: the first words of an interruption are lost
    call = listening()
    call.caller_says("please tell me about the youngest one", seconds=2.0)
    call.silence(1.0)
    assert call.asked[-1] == UserText("please tell me about the youngest one")
    first, *_, last = (command for command in call.commands(c.Transcribe)[1:])
    assert len(first.pcm) < 0.7 * 32_000
    assert len(last.pcm) > 2.0 * 32_000


def test_a_caller_who_goes_on_as_the_answer_begins_interrupts_at_once() -> None:
    # livekit/agents#3903: bot and caller begin to speak at the same time, and both go on
    call = Call()
    call.caller_says("I would like to")
    call.silence(0.7)
    call.bot_says("Sure, what would you like to do?")
    call.caller_says("uh", seconds=0.1)
    assert call.last("response.done")["response"]["status"] == "cancelled"


def test_one_request_at_a_time_is_made_for_its_words() -> None:
    call = listening()
    call.recognition_seconds = 0.25
    call.caller_makes_noise(1.5)
    asked = [command.item_id for command in call.commands(c.Transcribe)[1:]]
    assert 4 <= len(asked) <= 7
    assert len(call._recognitions) <= 1


@pytest.mark.parametrize("recogniser", ["slow", "failing"])
def test_without_words_a_long_voice_interrupts(recogniser: str) -> None:
    call = listening()
    call.recognition_seconds = 60.0 if recogniser == "slow" else 0.1
    call.recognition_fails = recogniser == "failing"
    call.caller_says("I would like to speak to somebody", seconds=0.5)
    assert speaks(call)
    call.caller_says("in sales please", seconds=0.3)
    assert not speaks(call)


def test_a_recogniser_that_fails_is_not_asked_all_the_time() -> None:
    call = listening()
    recognised = len(call.commands(c.Transcribe))
    call.recognition_seconds, call.recognition_fails = 0.03, True
    call.caller_makes_noise(0.5)
    assert len(call.commands(c.Transcribe)) - recognised == 1


@pytest.mark.parametrize("recogniser", ["slow", "failing"])
def test_without_words_a_short_voice_does_not(recogniser: str) -> None:
    call = listening()
    call.recognition_seconds = 3.0 if recogniser == "slow" else 0.1
    call.recognition_fails = recogniser == "failing"
    call.caller_makes_noise(0.5)
    call.silence(4.0)
    assert speaks(call)
    assert was_told(call) == []


def test_words_that_come_late_still_interrupt() -> None:
    call = listening()
    call.recognition_seconds = 1.5
    call.caller_says("stop please", seconds=0.5)
    call.silence(0.8)
    assert speaks(call)
    call.silence(3.0)
    assert not speaks(call)
    assert [event["type"] for event in call.client.received if "input_audio_buffer" in event["type"]][-3:] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert call.asked[-1] == UserText("stop please")


def test_what_is_no_word_to_the_recogniser_is_a_voice_when_it_is_long() -> None:
    # a language that it does not know
    call = listening()
    call.caller_makes_noise(2.2)
    assert not speaks(call)


def test_what_the_caller_heard_is_what_history_holds() -> None:
    # pipecat#5426, #4996, #5605: history is not what was heard
    call = listening(seconds=1.0)
    call.caller_says("mhm", seconds=0.3)
    call.silence(1.0)
    call.caller_says("stop it", seconds=0.4)
    call.silence(1.0)
    assert [text for role, text in call.history if role == "user"] == ["tell me a story", "mhm", "stop it"]
    heard = call.heard
    assert _STORY.startswith(heard)
    assert 20 < len(heard) < 30  # some 2.7 of 10 seconds


def test_after_an_interruption_everything_is_as_ever() -> None:
    # livekit/agents#3418, #4413: stuck after an interruption
    call = listening()
    for words in ("wait", "no stop"):
        call.caller_says(words, seconds=0.5)
        call.silence(1.0)
        assert call.asked[-1] == UserText(words)
        call.bot_says(_STORY, seconds=_SECONDS)
        call.silence(1.5)
        call.caller_makes_noise(0.3)
        call.silence(1.0)
        call.caller_says("mhm", seconds=0.3)
        call.silence(1.0)
        assert speaks(call)


# --- a false stop


def test_an_answer_that_was_stopped_for_nothing_goes_on() -> None:
    # livekit/agents#4039: the bot stops for nothing, and there is no more of it
    call = listening()
    call.caller_makes_noise(2.5)
    assert not speaks(call)
    call.silence(1.0)
    heard = call.heard
    assert _STORY.startswith(heard)
    *before, go_on = call.asked
    assert before == [UserText("tell me a story"), AssistantText(heard)]
    assert isinstance(go_on, SystemText)
    assert call.judged == ["interruption", "false"]
    call.bot_says(_STORY[len(heard) :])
    call.bot_finishes()
    call.silence(20.0)
    assert len(call.requests) == 2


def goes_on(call: Call) -> c.GoesOn | None:
    """What the rest is wanted of, by the last request for an answer."""
    rest: c.GoesOn | None = call.commands(c.Generate)[-1].goes_on
    return rest


def test_where_an_answer_goes_on_is_as_far_as_the_caller_heard_it() -> None:
    call = listening(seconds=2.0)
    stopped = call.answering
    assert stopped
    call.caller_makes_noise(2.5)
    assert call.commands(c.StopGenerating)[-1] == c.StopGenerating(stopped, may_go_on=True)
    call.silence(1.0)
    rest = goes_on(call)
    assert rest
    assert (rest.response_id, rest.kept) == (stopped, call.heard)
    assert rest.heard == pytest.approx(4.1, abs=0.1)


def test_a_client_that_knows_better_how_much_was_heard_is_believed() -> None:
    call = listening()
    item_id = call.last("response.output_audio.delta")["item_id"]
    call.caller_makes_noise(2.5)
    call.client_sends("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=3000)
    call.silence(1.0)
    rest = goes_on(call)
    assert rest
    assert rest.heard == pytest.approx(3.0)
    assert rest.kept == call.heard


def test_an_answer_of_which_nothing_was_said_yet_goes_on_from_its_beginning() -> None:
    call = Call()
    call.caller_says("tell me a story")
    call.silence(0.7)
    stopped = call.answering
    assert stopped
    call.caller_makes_noise(0.5)
    call.silence(1.0)
    assert goes_on(call) == c.GoesOn(stopped, 0.0, "")


def test_of_an_answer_that_is_no_more_there_is_no_rest() -> None:
    call = listening()
    item_id = call.last("response.output_audio.delta")["item_id"]
    call.caller_makes_noise(2.5)
    call.client_sends("conversation.item.delete", item_id=item_id)
    call.silence(1.0)
    assert goes_on(call) is None


def test_of_an_answer_beside_the_conversation_there_is_no_rest() -> None:
    call = Call(audio=TRANSCRIBED)
    call.client_sends("response.create", response={"conversation": "none"})
    call.bot_says(_STORY, seconds=_SECONDS)
    call.silence(2.0)
    call.caller_makes_noise(2.5)
    call.silence(1.0)
    assert goes_on(call) is None


def test_an_answer_that_was_sent_whole_goes_on_too() -> None:
    call = listening()
    call.bot_finishes()
    call.caller_makes_noise(2.5)
    call.silence(1.0)
    assert isinstance(call.asked[-1], SystemText)
    assert call.requests[-1].tool_choice == "none"


def test_an_answer_that_called_a_function_does_not_go_on_before_its_result() -> None:
    call = listening()
    call.bot_calls("look_up", "{}")
    call.bot_finishes("tool_calls")
    call.caller_makes_noise(2.5)
    call.silence(1.0)
    assert len(call.requests) == 1


def test_an_answer_is_not_taken_up_again_after_words() -> None:
    call = listening()
    call.caller_says("that is enough of it thank you", seconds=1.5)
    call.silence(1.0)
    assert call.asked[-1] == UserText("that is enough of it thank you")
    call.bot_says("As you like.")
    call.bot_finishes()
    call.silence(5.0)
    assert len(call.requests) == 2


def stops(call: Call) -> list[c.StopGenerating]:
    """How answers were stopped, so far."""
    return call.commands(c.StopGenerating)


def test_the_model_is_stopped_for_good_once_an_interruption_turns_out_to_be_one() -> None:
    """Nobody wants the rest, and its tokens cost money."""
    call = listening()
    stopped = call.answering
    assert stopped
    call.caller_says("please tell me about the youngest one", seconds=2.0)
    assert stops(call) == [c.StopGenerating(stopped, may_go_on=True)]  # its words are not sure yet
    call.silence(0.6)
    assert stops(call)[1:] == [c.StopGenerating(stopped)]


def test_it_is_stopped_then_even_where_the_next_answer_has_to_wait() -> None:
    call = listening()
    call.recognition_seconds = 0.6
    call.caller_says("please tell me about the youngest one", seconds=2.0)
    call.silence(0.55)
    call.caller_says("son", seconds=1.0)  # another turn, before the words of the first are known
    assert len(call.requests) == 1
    assert [stop.may_go_on for stop in stops(call)] == [True, False]


def test_words_that_the_caller_did_not_say_are_no_reason_to_drop_the_rest() -> None:
    call = listening(audio={"input": {"format": {"type": "audio/pcm", "rate": 16000}}})
    call.caller_makes_noise(2.5)
    elsewhere = base64.b64encode(b"".join(call.record("spoken elsewhere", 1.0))).decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": elsewhere}]}
    call.client_sends("conversation.item.create", item=item)
    call.silence(1.0)
    assert call.judged == ["interruption", "false"]
    assert [stop.may_go_on for stop in stops(call)] == [True]


@pytest.mark.parametrize("turn_detection", [{"create_response": False}, {"interrupt_response": True}])
def test_the_rest_is_kept_only_where_it_may_be_said_of_our_own_accord(turn_detection: dict[str, bool]) -> None:
    call = Call(audio=server_vad(**turn_detection))
    call.client_sends("response.create")
    call.bot_says(_STORY, seconds=_SECONDS)
    call.silence(2.0)
    call.caller_makes_noise(2.5)
    assert [stop.may_go_on for stop in stops(call)] == [turn_detection.get("create_response", True)]


def test_nothing_is_kept_of_an_answer_that_will_not_go_on() -> None:
    call = listening()
    call.bot_calls("look_up", "{}")
    call.bot_calls("look_up_more", "{", call_id="call_2")
    call.caller_makes_noise(2.5)
    assert [stop.may_go_on for stop in stops(call)] == [False]


# --- echo


def test_the_bots_own_words_coming_back_stop_nothing_and_are_forgotten() -> None:
    # pipecat#188, #1771: the bot on a loudspeaker interrupts itself
    call = listening(seconds=2.2)
    call.caller_says("was a farmer who had free sons and a", seconds=3.5)
    call.silence(1.5)
    assert was_told(call) == []
    assert speaks(call)
    assert call.judged == ["echo"]


def test_an_echo_that_outlasts_the_bot_is_not_answered() -> None:
    # vocode-core#16: its own words are transcribed, and it answers itself
    call = listening(seconds=_SECONDS - 2.0)
    call.bot_finishes()
    call.caller_says("the eldest went to sea", seconds=2.4)
    call.silence(2.0)
    assert was_told(call) == [
        "response.content_part.done",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert len(call.requests) == 1


@pytest.mark.parametrize("turn_detection", ["server_vad", "semantic_vad"])
def test_a_bot_that_speaks_first_does_not_talk_to_itself(turn_detection: str) -> None:
    # AIProxySwift#240: nobody has said a word, and it interrupts and answers itself again and again
    call = Call(audio={"input": {"turn_detection": {"type": turn_detection}}})
    call.client_sends("response.create")
    call.bot_says("Welcome to the city library, how may I help you today?", seconds=4.0)
    call.bot_finishes()
    call.silence(0.2)
    call.caller_says("welcome to the city library how may I help you today", seconds=4.0)
    call.silence(3.0)
    assert len(call.requests) == 1
    assert call.history == [("assistant", "Welcome to the city library, how may I help you today?")]
    call.caller_says("I am looking for a book", seconds=1.5)
    call.silence(1.5)
    assert call.asked[-1] == UserText("I am looking for a book")


@pytest.mark.parametrize("turn_detection", ["server_vad", "semantic_vad"])
@pytest.mark.parametrize("sound", ["voice", "far"])
def test_an_answer_that_comes_fast_is_not_stopped_by_its_own_echo(turn_detection: str, sound: Sound) -> None:
    # who speaks within a second of their turn's end goes on with it; the answer's first second lies in that one
    call = Call(audio={"input": {"turn_detection": {"type": turn_detection}}})
    call.caller_says("tell me a story")
    while not call.requests:
        call.silence(FRAME)
    call.bot_says(_STORY, seconds=_SECONDS)
    call.silence(0.2)
    call.caller_says("once upon a time there was a farmer", seconds=3.0, sound=sound)
    call.silence(1.0)
    assert speaks(call)
    assert call.judged == ["echo" if sound == "voice" else "noise"]
    assert len(call.requests) == 1


def test_the_caller_is_heard_over_an_echo() -> None:
    call = listening(seconds=2.2)
    call.caller_says("was a farmer who had", seconds=1.5)
    call.caller_says("sorry can you start again with the name of it", seconds=2.0)
    assert not speaks(call)


_CHOICE = "When would you like to come, would it be Saturday or Sunday?"


@pytest.mark.parametrize("before_the_end", [1.5, 0.3])
@pytest.mark.parametrize("words", ["Saturday", "Sunday"])
def test_what_a_question_offers_is_an_answer_to_it_and_no_echo(words: str, before_the_end: float) -> None:
    call = listening(seconds=_SECONDS - before_the_end, story=_CHOICE)
    call.caller_says(words, seconds=0.5)
    call.silence(0.5)
    assert not speaks(call)
    call.silence(0.5)
    assert call.asked[-1] == UserText(words)


def test_where_an_echo_was_heard_before_it_is_one_in_a_question_too() -> None:
    call = listening(seconds=2.2)
    call.caller_says("was a farmer who had", seconds=1.5)
    call.silence(1.0)
    call.bot_says(_CHOICE, seconds=4.0)
    call.silence(_SECONDS + 4.0 - 2.2 - 1.5 - 1.0 - 1.5)
    call.caller_says("Saturday", seconds=0.5)
    call.silence(0.8)
    assert speaks(call)
    assert call.judged == ["echo", "echo"]


def test_words_that_the_bot_said_long_ago_are_no_echo() -> None:
    call = listening(seconds=7.0)
    call.caller_says("who was the farmer again", seconds=0.8)
    assert not speaks(call)


def test_a_command_is_one_though_the_bot_says_the_same_word() -> None:
    call = listening(story="You can say stop or wait at any time and I will stop or wait for you as long as you like.")
    call.caller_says("stop", seconds=0.4)
    call.silence(0.3)
    assert not speaks(call)


# --- answers that are not to be interrupted


def test_an_uninterruptible_answer_is_heard_to_its_end_and_then_the_caller_is_answered() -> None:
    # rapidaai/voice-ai#280: a greeting that is not to be interrupted stops. livekit/agents#850: stuck after one.
    call = Call()
    call.client_sends("response.create", response={"x_interruptible": False})
    notice = "This call is recorded for training and quality purposes, as the law says."
    call.bot_says(notice, seconds=5.0)
    call.silence(1.5)
    call.caller_says("yes yes I know all that", seconds=1.0)
    call.silence(1.0)
    assert not call.all_of("input_audio_buffer.speech_started")  # clients drop their audio when they are told
    call.bot_finishes()
    call.silence(1.0)
    assert speaks(call) or call.conversation.playback.ahead(call.now) > 0
    assert not call.all_of("input_audio_buffer.speech_started")
    call.silence(1.0)
    assert call.all_of("input_audio_buffer.committed")
    assert call.heard == notice
    assert call.asked[-1] == UserText("yes yes I know all that")


def test_what_the_caller_begins_during_an_uninterruptible_answer_and_ends_after_it_is_one_turn() -> None:
    call = Call(x_interruptible=False)
    call.client_sends("response.create")
    call.bot_says("This call is recorded.", seconds=3.0)
    call.bot_finishes()
    call.silence(2.0)
    call.caller_says("I do not want to be recorded by anybody", seconds=2.5)
    call.silence(1.0)
    assert call.heard == "This call is recorded."
    assert call.asked[-1] == UserText("I do not want to be recorded by anybody")


def test_speech_before_an_uninterruptible_answer_is_heard_does_not_stop_it() -> None:
    call = Call(x_interruptible=False)
    call.client_sends("response.create")
    call.caller_says("hello is anybody there", seconds=0.8)
    assert call.all_of("response.done") == []
    call.bot_says("This call is recorded.", seconds=3.0)
    call.silence(1.0)
    call.bot_finishes()
    assert call.heard == "This call is recorded."
    assert call.asked[-1] == UserText("hello is anybody there")


def test_the_answer_after_an_uninterruptible_one_is_interrupted_as_ever() -> None:
    call = Call()
    call.client_sends("response.create", response={"x_interruptible": False})
    call.bot_says("This call is recorded.", seconds=2.0)
    call.bot_finishes()
    call.silence(3.0)
    call.caller_says("tell me a story")
    call.silence(1.0)
    call.bot_says(_STORY, seconds=_SECONDS)
    call.silence(1.5)
    call.caller_says("stop it", seconds=0.5)
    assert not speaks(call)


def test_a_session_without_interruptions_hears_every_turn() -> None:
    # livekit/agents#2368: after the first answer nobody is heard any more
    call = Call(x_interruptible=False)
    for words in ("one", "two", "three"):
        call.turn(words, f"You said {words}.")
        call.silence(0.5)
        assert call.history[-2:] == [("user", words), ("assistant", f"You said {words}.")]


def test_whoever_speaks_twice_into_an_uninterruptible_answer_is_answered_once_to_both() -> None:
    # livekit/agents#4316: the second time is an error. #824: answers to what was said long ago queue up.
    call = Call()
    call.client_sends("response.create", response={"x_interruptible": False})
    call.bot_says("This call is recorded for training and quality purposes, as the law says.", seconds=6.0)
    call.bot_finishes()
    call.silence(1.0)
    for words in ("yes yes", "I know all that"):
        call.caller_says(words, seconds=0.8)
        call.silence(1.0)
    call.silence(4.0)
    assert len(call.requests) == 2
    assert call.asked[-2:] == [UserText("yes yes"), UserText("I know all that")]


def test_with_interruption_off_what_the_caller_says_is_announced_at_once() -> None:
    call = listening(audio=server_vad(interrupt_response=False))
    call.caller_says("mhm", seconds=0.3)
    assert call.caller_is_speaking
    assert speaks(call)
    assert call.judged == []


# --- the client's hand, and settings


def test_what_is_undecided_when_the_client_clears_or_commits_is_gone_with_it() -> None:
    call = listening()
    call.caller_says("stop", seconds=0.1)
    call.client_sends("input_audio_buffer.clear")
    call.silence(1.0)
    assert speaks(call)
    call.recognition_seconds = 2.0
    call.caller_says("stop", seconds=0.3)
    call.silence(1.0)  # over, and its words are not known yet
    call.client_sends("input_audio_buffer.clear")
    call.silence(2.0)
    assert speaks(call)
    call.caller_says("by hand", seconds=0.2)
    call.client_sends("input_audio_buffer.commit")
    call.silence(3.0)
    assert speaks(call)
    assert call.history[-1] == ("user", "by hand")
    assert not call.awaits_words


def test_turn_detection_switched_off_leaves_nothing_undecided() -> None:
    call = listening()
    call.recognition_seconds = 2.0
    call.caller_says("stop", seconds=0.3)
    call.silence(1.0)
    call.client_sends("session.update", session={"audio": {"input": {"turn_detection": None}}})
    call.silence(3.0)
    assert speaks(call)
    assert call.conversation._utterances.candidates == []


def test_a_candidate_whose_audio_stops_is_decided() -> None:
    """pipecat#4124: the microphone is muted in the middle of a word."""
    call = listening()
    call.caller_says("stop", seconds=0.2)
    call.no_audio(2.5)
    assert not speaks(call)
    assert call.asked[-1] == UserText("stop")


def test_two_voices_are_judged_each_by_itself() -> None:
    call = listening()
    call.recognition_seconds = 0.6
    for words in ("mhm", "no I want the other one"):
        call.caller_says(words, seconds=0.4)
        call.silence(0.6)
    call.silence(2.0)
    assert call.judged == ["backchannel", "interruption"]
    assert [text for role, text in call.history if role == "user"][1:] == ["mhm", "no I want the other one"]
    assert len(call.requests) == 2


def test_a_voice_that_is_known_to_be_a_turn_only_while_the_next_one_is_heard_comes_before_it() -> None:
    call = listening()
    call.recognition_seconds = 3.0
    call.caller_says("tell me more", seconds=0.4)
    call.silence(0.6)
    call.caller_says("and of the mill and of the sea", seconds=3.0)
    call.silence(5.0)
    said = [text for role, text in call.history if role == "user"]
    assert said == ["tell me a story", "tell me more", "and of the mill and of the sea"]
    assert len(call.all_of("input_audio_buffer.speech_started")) == 2  # of one at a time


def test_a_voice_that_pauses_and_goes_on_is_judged_as_a_whole() -> None:
    call = listening()
    call.caller_makes_noise(0.15)
    call.silence(0.3)
    assert call.judged == []
    call.caller_says("go to the mill", seconds=0.6)
    assert not speaks(call)
    call.silence(1.5)
    assert call.judged == ["interruption"]
    assert call.asked[-1] == UserText("go to the mill")


def test_words_for_a_request_that_was_not_made_decide_nothing() -> None:
    call = listening()
    call.recognition_seconds = 1.0
    call.caller_says("mhm", seconds=0.3)
    asked = call.commands(c.Transcribe)[-1]
    stale = e.Transcribed(asked.item_id, 0, "stop", 0.3)
    assert call.conversation.transcribed(asked.attempt + 1, stale, call.now) == []
    assert speaks(call)


def test_an_undecided_voice_when_the_client_stops_the_playback_is_a_turn() -> None:
    call = listening()
    call.caller_says("okay", seconds=0.3)
    call.client_sends("output_audio_buffer.clear")
    call.silence(1.5)
    assert call.asked[-1] == UserText("okay")


def test_every_verdict_is_counted_once() -> None:
    call = listening()
    for words in ("", "mhm"):
        call.caller_says(words, seconds=0.3)
        call.silence(1.0)
    assert call.judged == ["noise", "backchannel"]


def test_an_interruption_that_is_over_when_it_is_understood_is_judged_as_a_turn_s_end_at_once() -> None:
    call = listening(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    call.recognition_seconds = 0.3
    call.caller_says("okay Tuesday", seconds=0.4)
    call.silence(1.0)
    assert not speaks(call)
    assert call.asked[-1] == UserText("okay Tuesday")
