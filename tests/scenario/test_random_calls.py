"""Calls in which caller, client and model do anything in any order: what has to hold in all of them.

The strict client checks each event as it comes (see `tests.support.strict_client`); here stand the rules that need the
whole call: history holds nothing that was not played, and whatever was begun comes to an end.
"""

import itertools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.conversation.history import Message
from server.llm.interface import AssistantText
from tests.support.call import Call, Sound

_EXPECTED_ERRORS = {
    "conversation_already_has_active_response",
    "response_cancel_not_active",
    "input_audio_buffer_commit_empty",
    "item_not_found",
    "item_already_exists",
    "invalid_value",
    "limit_exceeded",
}
_TURN_DETECTION: list[dict[str, Any] | None] = [
    None,
    {"type": "server_vad"},
    {"type": "server_vad", "silence_duration_ms": 100, "idle_timeout_ms": 1000},
    {"type": "server_vad", "interrupt_response": False},
    {"type": "server_vad", "create_response": False},
    {"type": "semantic_vad", "eagerness": "low"},
]
_RESPONSES: list[dict[str, Any]] = [
    {},
    {"conversation": "none"},
    {"conversation": "none", "output_modalities": ["text"]},
    {"conversation": "none", "x_interruptible": False},
    {"output_modalities": ["text"]},
    {"input": []},
]
_item = st.integers(0, 9)  # one of the latest items, or none at all
_seconds = st.sampled_from([0.05, 0.15, 0.3, 0.8])


class RandomCall(RuleBasedStateMachine):
    """One call, and what its client really played of each item."""

    def __init__(self) -> None:
        super().__init__()
        filler = {"text": "One moment.", "after_ms": 500}
        self.call = Call(
            recognition_seconds=0.3, audio={"input": {"transcription": {"model": "x"}}}, x_tool_filler=filler
        )
        self.begun: dict[str, float] = {}  # when the first audio of an item was sent
        self.clauses: dict[str, list[float]] = {}  # how long each clause of it takes
        self.line: str | None = None  # the response that speaks: one at a time, as in the pipeline
        self.spoken_over: set[str] = set()  # items of answers that began while the caller spoke

    def item_id(self, index: int) -> str:
        items = self.call.client.items
        return items[-1 - index] if index < len(items) else "item_unknown"

    @property
    def writing_aloud(self) -> bool:
        answer = self.call.conversation._answers.get(self.call.answering or "")
        return answer is not None and answer.response.config.modality == "audio"

    def take_line(self) -> None:
        if self.line in self.call.under_way:
            self.call.bot_turns_to(self.line)
        self.line = self.call.answering

    # --- the caller

    @rule(
        words=st.sampled_from(["yes", "no wait", "tell me more", "mhm"]),
        seconds=_seconds,
        sound=st.sampled_from(["voice", "voice", "soft", "far"]),
    )
    def speak(self, words: str, seconds: float, sound: Sound) -> None:
        self.call.caller_says(words, seconds, sound)
        self.check_what_was_heard()

    @rule(seconds=_seconds)
    def cough(self, seconds: float) -> None:
        self.call.caller_makes_noise(seconds)
        self.check_what_was_heard()

    @rule(seconds=st.sampled_from([0.05, 0.25, 0.6, 1.5]))
    def wait(self, seconds: float) -> None:
        self.call.silence(seconds)

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.5]))
    def hear_nothing(self, seconds: float) -> None:
        self.call.no_audio(seconds)

    @rule(fails=st.booleans())
    def recognition(self, fails: bool) -> None:
        self.call.recognition_fails = fails

    @rule(probability=st.sampled_from([None, 0.05, 0.5, 0.95]))
    def sound_finished(self, probability: float | None) -> None:
        self.call.sounds_finished = probability

    # --- the model and the voice

    @precondition(lambda self: self.call.answering)
    @rule(seconds=_seconds)
    def answer(self, seconds: float) -> None:
        if self.writing_aloud:
            self.take_line()
            self.call.bot_says("a clause of five words", seconds)
            if self.call.answering != self.line:
                return  # it would have been spoken over the caller
            item_id = self.call.last("response.output_audio.delta")["item_id"]
            begun = len(self.begun)
            self.begun.setdefault(item_id, self.call.now)
            if len(self.begun) > begun and self.call.caller_is_speaking:
                self.spoken_over.add(item_id)  # the client asked for it while the caller spoke: no interruption
            self.clauses.setdefault(item_id, []).append(seconds)
        else:
            self.call.bot_writes("some text ")

    @precondition(lambda self: self.call.answering and self.writing_aloud)
    @rule()
    def say_what_has_no_sound(self) -> None:
        self.take_line()
        assert self.call.answering
        self.call._perform(self.call.conversation.unspoken(self.call.answering, "a clause of five words"))
        self.clauses.setdefault(self.call.last("response.output_item.added")["item"]["id"], []).append(0.0)

    @precondition(lambda self: self.call.answering)
    @rule(index=st.integers(0, 3))
    def another_goes_on(self, index: int) -> None:
        self.call.bot_turns_to(self.call.under_way[index % len(self.call.under_way)])

    @precondition(lambda self: self.call.answering)
    @rule(arguments=st.sampled_from([[], ["{}"], ['{"a"', ":1}"]]))
    def call_function(self, arguments: list[str]) -> None:
        self.call.bot_calls("f", *arguments)

    @precondition(lambda self: self.call.answering)
    @rule(reason=st.sampled_from(["stop", "length", "content_filter"]))
    def finish(self, reason: str) -> None:
        self.call.bot_finishes(reason)

    @precondition(lambda self: self.call.answering)
    @rule()
    def fail(self) -> None:
        self.call.bot_fails()

    # --- the client

    @rule(turn_detection=st.sampled_from(_TURN_DETECTION))
    def update_session(self, turn_detection: dict[str, Any] | None) -> None:
        session = {"audio": {"input": {"turn_detection": turn_detection}}}
        assert self.call.client_sends("session.update", session=session)[0]["type"] == "session.updated"

    @rule(response=st.sampled_from(_RESPONSES))
    def create_response(self, response: dict[str, Any]) -> None:
        self.call.client_sends("response.create", response=response)

    @rule()
    def cancel(self) -> None:
        self.call.client_sends("response.cancel")

    @rule(after=_item, own_id=st.sampled_from([None, "mine", "yours"]))
    def create_item(self, after: int, own_id: str | None) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "typed"}], "id": own_id}
        previous = "root" if after == 9 else self.item_id(after)
        self.call.client_sends("conversation.item.create", item=item, previous_item_id=previous)

    @rule(index=_item)
    def create_item_of_the_same_id(self, index: int) -> None:
        item = {"type": "function_call_output", "call_id": "call_1", "output": "", "id": self.item_id(index)}
        self.call.client_sends("conversation.item.create", item=item)

    @rule()
    def result(self) -> None:
        item = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
        self.call.client_sends("conversation.item.create", item=item)

    @rule(index=_item)
    def delete_item(self, index: int) -> None:
        self.call.client_sends("conversation.item.delete", item_id=self.item_id(index))

    @rule(index=_item, audio_end_ms=st.sampled_from([0, 100, 1000, 100_000]))
    def truncate_item(self, index: int, audio_end_ms: int) -> None:
        item_id = self.item_id(index)
        self.call.client_sends(
            "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_end_ms
        )

    @rule(index=_item)
    def retrieve_item(self, index: int) -> None:
        self.call.client_sends("conversation.item.retrieve", item_id=self.item_id(index))

    @rule(type=st.sampled_from(["input_audio_buffer.clear", "input_audio_buffer.commit", "output_audio_buffer.clear"]))
    def buffer(self, type: str) -> None:
        self.call.client_sends(type)

    # --- what has to hold

    @invariant()
    def only_expected_errors(self) -> None:
        assert set(self.call.errors) <= _EXPECTED_ERRORS

    def check_what_was_heard(self) -> None:
        """After an interruption, an item holds no words of a clause that has not begun to be played."""
        turns = self.call.conversation.config.turn_detection
        if not (turns and turns.interrupt_response and self.call.caller_is_speaking):
            return
        for item in self.call.conversation.history:
            if isinstance(item, Message) and item.id in self.begun.keys() - self.spoken_over:
                lasted = self.call.now - self.begun[item.id]
                starts = itertools.accumulate(self.clauses[item.id][:-1], initial=0.0)
                assert len(item.text.split()) <= 5 * sum(1 for start in starts if start < lasted + 1e-3)

    @invariant()
    def history_holds_only_what_was_said(self) -> None:
        for item in self.call.conversation.history:
            if isinstance(item, Message) and item.id in self.begun:
                said = iter(self.call.client.transcript(item.id).split())
                assert all(word in said for word in item.text.split())

    @invariant()
    def nothing_waits_that_could_go_on(self) -> None:
        """The model is asked, or the caller has still to be heard out; an answer never hangs."""
        response = self.call.conversation.active_response
        if response and response.id not in self.call.under_way:
            assert self.call.awaits_words or self.call.caller_is_speaking

    @invariant()
    def little_is_kept(self) -> None:
        """livekit/agents#2166: memory grows over calls."""
        under_way = [item for answer in self.call.conversation._answers for item in answer.response.output]
        alive = set(self.call.client.items) | {item.id for item in under_way}
        assert not [gone for gone in self.begun if gone not in alive and self.call.conversation.playback.knows(gone)]

    def teardown(self) -> None:
        """At last everybody falls silent, and whatever was begun is brought to its end."""
        call = self.call
        call.recognition_fails = False
        call.client_sends("session.update", session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
        for _ in range(20):
            while call.answering:
                call.bot_finishes()
            call.silence(1.0)
        assert list(call.conversation._answers) == []
        assert all(item.status != "in_progress" for item in call.conversation.history)
        assert call.conversation.playback.ahead(call.now) == 0
        call.caller_says("are you still there")
        call.silence(1.5)
        assert call.answering
        assert all(not isinstance(message, AssistantText) or message.text for message in call.asked)


TestRandomCalls = RandomCall.TestCase
TestRandomCalls.settings = settings(max_examples=60, stateful_step_count=40)
