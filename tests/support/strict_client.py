"""A client of the OpenAI Realtime API that takes nothing on trust, at the far end of a conversation under test.

Each server event has to parse with the `openai` package's own types, and to come in an order in which the official
clients can follow it: nothing is closed twice, left open or told of before it was added, and the client's own copy of
the conversation is the server's.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any, get_args

from msgspec.json import Decoder
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel

from server.dialects.openai.server_events import SERVER_EVENTS

_MODELS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(RealtimeServerEvent)[0])
}
_OURS = {str(event.__struct_config__.tag): Decoder(event, strict=True) for event in SERVER_EVENTS}
# The protocol's PCM has one rate; a session that was asked for another shows it.
_OUR_RATES = re.compile(rb'"rate":(8000|16000|48000)')
_OPEN_ENDED = ("error", "rate_limits.updated", "output_audio_buffer.cleared", "x_turn.timings", "x_turn.decided")


@dataclass
class _Output:
    """An item of a response: what was added, what the deltas said, what has been closed."""

    item: dict[str, Any]
    part: str | None = None
    text: str = ""
    audio: bytes = b""
    closed: list[str] = field(default_factory=list)
    done: bool = False


@dataclass
class _Response:
    beside: bool
    outputs: list[_Output] = field(default_factory=list)
    done: bool = False


class StrictClient:
    """Takes server events as they come on the wire; a wrong one fails the test that it came up in."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.items: list[str] = []
        self.responses: dict[str, _Response] = {}
        self.transcripts: dict[str, str] = {}
        self._ever: set[str] = set()
        self._item_done: set[str] = set()
        self._truncated: set[str] = set()
        self.speaking: str | None = None
        self._committed: str | None = None
        self._by_hand = False

    @property
    def active(self) -> str | None:
        """Id of the conversation's response that is under way."""
        open_ones = (response_id for response_id, response in self.responses.items() if not response.done)
        return next((response_id for response_id in open_ones if not self.responses[response_id].beside), None)

    def transcript(self, item_id: str) -> str:
        """All that the deltas said of an item."""
        return self._output(item_id).text

    def audio(self, item_id: str) -> bytes:
        """All the audio that was sent of an item."""
        return self._output(item_id).audio

    def take(self, message: bytes) -> None:
        """The next event."""
        event = json.loads(message)
        kind = event["type"]
        _OURS[kind].decode(message)
        if not kind.startswith("x_"):
            _MODELS[kind].model_validate_json(_OUR_RATES.sub(b'"rate":24000', message), strict=True)
        assert event["event_id"] not in self._ever, "event ids are unique"
        self._ever.add(event["event_id"])
        self.received.append(event)
        if kind not in _OPEN_ENDED:
            getattr(self, "_" + kind.replace(".", "_"), self._unexpected)(event)

    def take_audio(self, audio: bytes) -> None:
        """The next binary message, which is of the one spoken part that is open."""
        outputs = (output for response in self.responses.values() for output in response.outputs)
        [output] = [output for output in outputs if output.part == "audio" and not output.closed]
        output.audio += audio

    def _unexpected(self, event: dict[str, Any]) -> None:
        raise AssertionError(f"the client knows no event {event['type']!r}")

    # --- the session and the caller's voice

    def _session_created(self, event: dict[str, Any]) -> None:
        assert len(self.received) == 1, "session.created comes first and once"
        self._by_hand = event["session"]["audio"]["input"]["turn_detection"] is None

    def _session_updated(self, event: dict[str, Any]) -> None:
        kind = "transcription_" if event["session"]["type"] == "transcription" else ""
        assert event["session"]["object"] == f"realtime.{kind}session"
        self._by_hand = event["session"]["audio"]["input"]["turn_detection"] is None

    def _input_audio_buffer_speech_started(self, event: dict[str, Any]) -> None:
        self.speaking = event["item_id"]
        assert self.speaking not in self._ever, "an utterance's item id is new"

    def _input_audio_buffer_speech_stopped(self, event: dict[str, Any]) -> None:
        assert event["item_id"] == self.speaking, "speech stops that has started"
        self.speaking = None

    def _input_audio_buffer_timeout_triggered(self, event: dict[str, Any]) -> None:
        assert event["audio_end_ms"] > event["audio_start_ms"]

    def _input_audio_buffer_cleared(self, event: dict[str, Any]) -> None:
        self.speaking = None

    def _input_audio_buffer_committed(self, event: dict[str, Any]) -> None:
        assert event["previous_item_id"] == (self.items[-1] if self.items else None)
        self._committed = event["item_id"]
        if self.speaking == self._committed:  # not what was said before, and is only now known to be a turn
            self.speaking = None

    # --- items

    def _conversation_item_added(self, event: dict[str, Any]) -> None:
        item_id, previous = event["item"]["id"], event["previous_item_id"]
        assert item_id not in self.items, "item ids are unique"
        assert event["item"]["object"] == "realtime.item"
        self.items.insert(0 if previous is None else self.items.index(previous) + 1, item_id)
        if self._committed:
            assert item_id == self._committed, "a committed buffer becomes an item at once"
            self._committed = None

    def _conversation_item_done(self, event: dict[str, Any]) -> None:
        item_id, previous = event["item"]["id"], event["previous_item_id"]
        index = self.items.index(item_id)
        assert previous == (self.items[index - 1] if index else None)
        assert item_id not in self._item_done, "an item is done once"
        assert event["item"]["status"] != "in_progress"
        self._item_done.add(item_id)

    def _conversation_item_retrieved(self, event: dict[str, Any]) -> None:
        assert event["item"]["id"] in self.items

    def _conversation_item_truncated(self, event: dict[str, Any]) -> None:
        assert event["item_id"] in self.items
        self._truncated.add(event["item_id"])

    def _conversation_item_deleted(self, event: dict[str, Any]) -> None:
        self.items.remove(event["item_id"])
        self._item_done.discard(event["item_id"])

    def _conversation_item_input_audio_transcription_delta(self, event: dict[str, Any]) -> None:
        assert self._by_hand or event["item_id"] in (*self.items, self.speaking)
        self.transcripts[event["item_id"]] = self.transcripts.get(event["item_id"], "") + event["delta"]

    def _conversation_item_input_audio_transcription_completed(self, event: dict[str, Any]) -> None:
        assert self.transcripts[event["item_id"]] == event["transcript"]

    def _conversation_item_input_audio_transcription_failed(self, event: dict[str, Any]) -> None:
        assert event["item_id"] in self.items

    # --- responses

    def _response_created(self, event: dict[str, Any]) -> None:
        response = event["response"]
        beside = response["conversation_id"] is None
        assert beside or self.active is None, "one response at a time in the conversation"
        assert response["id"] not in self.responses, "response ids are unique"
        assert (response["status"], response["output"]) == ("in_progress", [])
        self.responses[response["id"]] = _Response(beside)

    def _response_done(self, event: dict[str, Any]) -> None:
        response = event["response"]
        known = self.responses[response["id"]]
        assert not known.done, "a response is done once"
        assert all(output.done for output in known.outputs), "what a response opened it closes"
        assert response["output"] == [output.item for output in known.outputs]
        assert response["usage"]["total_tokens"] is not None, "usage is always filled"
        assert response["status_details"]["type"] == response["status"] != "in_progress"
        known.done = True

    def _response_output_item_added(self, event: dict[str, Any]) -> None:
        response, item = self._active(event), event["item"]
        assert all(output.done for output in response.outputs), "one item at a time"
        assert event["output_index"] == len(response.outputs)
        assert item["status"] == "in_progress"
        assert item["id"] not in self._ever, "an answer's item id is new"
        self._ever.add(item["id"])
        response.outputs.append(_Output(item))

    def _response_output_item_done(self, event: dict[str, Any]) -> None:
        output = self._open(event)
        item = event["item"]
        assert item["status"] != "in_progress"
        assert item["id"] == output.item["id"]
        expected = ["arguments"] if item["type"] == "function_call" else ["part"]
        assert output.closed[-1:] == expected, "parts are closed before their item"
        if item["type"] == "function_call":
            assert item["arguments"] == (output.text or "{}")
        else:
            text = item["content"][0]
            assert item["id"] in self._truncated or text.get("transcript", text.get("text")) == output.text
        output.item, output.done = item, True

    def _response_content_part_added(self, event: dict[str, Any]) -> None:
        output = self._open(event)
        assert output.part is None, "a message has one part"
        assert event["content_index"] == 0
        output.part = event["part"]["type"]

    def _response_content_part_done(self, event: dict[str, Any]) -> None:
        output = self._part(event, event["part"]["type"])
        assert event["part"].get("transcript", event["part"].get("text")) == output.text
        assert output.closed == (["audio", "transcript"] if output.part == "audio" else ["text"])
        output.closed.append("part")

    def _response_output_text_delta(self, event: dict[str, Any]) -> None:
        output = self._part(event, "text")
        assert not output.closed
        output.text += event["delta"]

    def _response_output_text_done(self, event: dict[str, Any]) -> None:
        output = self._part(event, "text")
        assert event["text"] == output.text
        output.closed.append("text")

    def _response_output_audio_transcript_delta(self, event: dict[str, Any]) -> None:
        output = self._part(event, "audio")
        assert not output.closed
        output.text += event["delta"]

    def _response_output_audio_transcript_done(self, event: dict[str, Any]) -> None:
        output = self._part(event, "audio")
        assert event["transcript"] == output.text
        output.closed.append("transcript")

    def _response_output_audio_delta(self, event: dict[str, Any]) -> None:
        output = self._part(event, "audio")
        assert not output.closed
        output.audio += base64.b64decode(event["delta"], validate=True)

    def _response_output_audio_done(self, event: dict[str, Any]) -> None:
        self._part(event, "audio").closed.append("audio")

    def _response_function_call_arguments_delta(self, event: dict[str, Any]) -> None:
        output = self._open(event)
        assert event["call_id"] == output.item["call_id"]
        assert not output.closed
        output.text += event["delta"]

    def _response_function_call_arguments_done(self, event: dict[str, Any]) -> None:
        output = self._open(event)
        assert event["name"] == output.item["name"]
        assert event["arguments"] == (output.text or "{}"), "clients parse it as JSON"
        output.closed.append("arguments")

    def _active(self, event: dict[str, Any]) -> _Response:
        response = self.responses[event["response_id"]]
        assert not response.done, "nothing comes after response.done"
        return response

    def _open(self, event: dict[str, Any]) -> _Output:
        outputs = self._active(event).outputs
        assert event["output_index"] == len(outputs) - 1
        assert not outputs[-1].done, "an item's events come before it is done"
        assert event.get("item_id", outputs[-1].item["id"]) == outputs[-1].item["id"]
        return outputs[-1]

    def _part(self, event: dict[str, Any], kind: str) -> _Output:
        output = self._open(event)
        assert output.part == kind, "a part is added before its deltas"
        return output

    def _output(self, item_id: str) -> _Output:
        outputs = (output for response in self.responses.values() for output in response.outputs)
        return next(output for output in outputs if output.item["id"] == item_id)
