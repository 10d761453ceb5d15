"""What a conversation says, as server events of the OpenAI Realtime API (GA).

One function from our event to theirs; bytes in an event are base64 on the wire. Source of the shapes: PyPI `openai`,
`openai/types/realtime`.
"""

from collections.abc import Callable
from typing import Any

from server.access.call_time import Expiring
from server.conversation import events as e
from server.conversation.commands import TurnEnded, VoiceJudged
from server.conversation.config import Modality
from server.conversation.history import PartKind
from server.conversation.response import Response
from server.dialects.dialect import Move, TicketIssued, Told, TurnTimings
from server.dialects.openai.items import write_item

# What clients call the parts of an answer inside a response; in items they are output_text and output_audio.
_DELTA_TYPE: dict[PartKind, str] = {
    "output_text": "response.output_text",
    "output_audio": "response.output_audio_transcript",
}


def write_response(response: Response) -> dict[str, Any]:
    """The response object in response.created and response.done."""
    config = response.config
    done = response.status != "in_progress"
    return {
        "id": response.id,
        "object": "realtime.response",
        "status": response.status,
        "status_details": _status_details(response) if done else None,
        "output": [write_item(item) for item in response.output],
        "conversation_id": "conversation" if config.in_conversation else None,
        "output_modalities": [config.modality],
        "max_output_tokens": config.max_output_tokens or "inf",
        "audio": {"output": {"voice": config.voice}},
        "metadata": config.metadata,
        "usage": _usage(response, config.modality) if done else None,
    }


def _usage(response: Response, modality: Modality) -> dict[str, Any]:
    usage = response.usage
    text_out, audio_out = (usage.output_tokens, 0) if modality == "text" else (0, usage.output_tokens)
    return {
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_token_details": {
            "text_tokens": usage.input_tokens,
            "audio_tokens": 0,
            "image_tokens": 0,
            "cached_tokens": usage.cached_tokens,
            "cached_tokens_details": {"text_tokens": usage.cached_tokens, "audio_tokens": 0, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
    }


def _status_details(response: Response) -> dict[str, Any]:
    details: dict[str, Any] = {"type": response.status}
    if response.reason:
        details["reason"] = response.reason
    if response.failure:
        details["error"] = {
            "type": "server_error",
            "code": response.failure.code,
            "message": response.failure.message,
        }
    return details


def _in_part(place: e.Place) -> dict[str, Any]:
    return _in_response(place) | {"item_id": place.item_id, "content_index": 0}


def _in_response(place: e.Place) -> dict[str, Any]:
    return {"response_id": place.response_id, "output_index": place.output_index}


def _item_event(name: str, event: e.ItemAdded | e.ItemDone) -> list[dict[str, Any]]:
    return [{"type": name, "previous_item_id": event.previous_item_id, "item": write_item(event.item)}]


def _part(kind: PartKind, text: str) -> dict[str, Any]:
    return {"type": "audio", "transcript": text} if kind == "output_audio" else {"type": "text", "text": text}


def _part_done(event: e.PartDone) -> list[dict[str, Any]]:
    where = _in_part(event.place)
    part_done = {"type": "response.content_part.done", **where, "part": _part(event.kind, event.text)}
    if event.kind == "output_text":
        return [{"type": "response.output_text.done", **where, "text": event.text}, part_done]
    return [
        {"type": "response.output_audio.done", **where},
        {"type": "response.output_audio_transcript.done", **where, "transcript": event.text},
        part_done,
    ]


def _transcribed(event: e.Transcribed) -> list[dict[str, Any]]:
    where = {"item_id": event.item_id, "content_index": 0}
    name = "conversation.item.input_audio_transcription"
    completed = {
        "type": f"{name}.completed",
        **where,
        "transcript": event.transcript,
        "usage": {"type": "duration", "seconds": event.seconds},
    }
    if event.transcript and not event.untold:
        return [completed]
    return [{"type": f"{name}.delta", **where, "delta": event.untold}, completed]


_WRITERS: dict[type, Callable[[Any], list[dict[str, Any]]]] = {
    e.AudioDelta: lambda v: [{"type": "response.output_audio.delta", **_in_part(v.place), "delta": v.audio}],
    e.TextDelta: lambda v: [{"type": f"{_DELTA_TYPE[v.kind]}.delta", **_in_part(v.place), "delta": v.delta}],
    e.SpeechStarted: lambda v: [
        {"type": "input_audio_buffer.speech_started", "item_id": v.item_id, "audio_start_ms": v.audio_start_ms}
    ],
    e.SpeechStopped: lambda v: [
        {"type": "input_audio_buffer.speech_stopped", "item_id": v.item_id, "audio_end_ms": v.audio_end_ms}
    ],
    e.IdleTimedOut: lambda v: [
        {
            "type": "input_audio_buffer.timeout_triggered",
            "item_id": v.item_id,
            "audio_start_ms": v.audio_start_ms,
            "audio_end_ms": v.audio_end_ms,
        }
    ],
    e.AudioCommitted: lambda v: [
        {"type": "input_audio_buffer.committed", "item_id": v.item_id, "previous_item_id": v.previous_item_id}
    ],
    e.AudioCleared: lambda _: [{"type": "input_audio_buffer.cleared"}],
    e.WordsHeard: lambda v: [
        {
            "type": "conversation.item.input_audio_transcription.delta",
            "item_id": v.item_id,
            "content_index": 0,
            "delta": v.delta,
        }
    ],
    e.Transcribed: _transcribed,
    e.TranscriptionFailed: lambda v: [
        {
            "type": "conversation.item.input_audio_transcription.failed",
            "item_id": v.item_id,
            "content_index": 0,
            "error": {"type": "transcription_error", "code": v.code, "message": v.message},
        }
    ],
    e.ItemAdded: lambda v: _item_event("conversation.item.added", v),
    e.ItemDone: lambda v: _item_event("conversation.item.done", v),
    e.ItemRetrieved: lambda v: [{"type": "conversation.item.retrieved", "item": write_item(v.item)}],
    e.ItemDeleted: lambda v: [{"type": "conversation.item.deleted", "item_id": v.item_id}],
    e.ItemTruncated: lambda v: [
        {
            "type": "conversation.item.truncated",
            "item_id": v.item_id,
            "content_index": v.content_index,
            "audio_end_ms": v.audio_end_ms,
        }
    ],
    e.ResponseCreated: lambda v: [{"type": "response.created", "response": write_response(v.response)}],
    # No limit here is counted in requests or tokens, the only two that the event can tell.
    e.ResponseDone: lambda v: [
        {"type": "response.done", "response": write_response(v.response)},
        {"type": "rate_limits.updated", "rate_limits": []},
    ],
    e.OutputItemAdded: lambda v: [
        {"type": "response.output_item.added", **_in_response(v.place), "item": write_item(v.item)}
    ],
    e.OutputItemDone: lambda v: [
        {"type": "response.output_item.done", **_in_response(v.place), "item": write_item(v.item)}
    ],
    e.PartAdded: lambda v: [{"type": "response.content_part.added", **_in_part(v.place), "part": _part(v.kind, "")}],
    e.PartDone: _part_done,
    e.ArgumentsDelta: lambda v: [
        {
            "type": "response.function_call_arguments.delta",
            **_in_response(v.place),
            "item_id": v.place.item_id,
            "call_id": v.call_id,
            "delta": v.delta,
        }
    ],
    e.ArgumentsDone: lambda v: [
        {
            "type": "response.function_call_arguments.done",
            **_in_response(v.place),
            "item_id": v.place.item_id,
            "call_id": v.call_id,
            "name": v.name,
            "arguments": v.arguments,
        }
    ],
    e.PlaybackCleared: lambda v: [{"type": "output_audio_buffer.cleared", "response_id": v.response_id}],
    TurnTimings: lambda v: [{"type": "x_turn.timings", "response_id": v.response_id, "stages_ms": v.stages_ms}],
    TurnEnded: lambda v: [
        {
            "type": "x_turn.decided",
            "decision": "turn_ended",
            "reason": v.reason,
            "silence_ms": round(v.silence * 1000),
            "longest_pause_ms": round(v.longest_pause * 1000),
            "sounds_finished": v.sounds_finished,
        }
    ],
    VoiceJudged: lambda v: [
        {"type": "x_turn.decided", "decision": v.judgement, "voiced_ms": round(v.voiced * 1000)},
    ],
    Expiring: lambda v: [{"type": "x_session.expiring", "reason": v.reason, "seconds_left": round(v.seconds_left, 1)}],
    TicketIssued: lambda v: [
        {
            "type": "x_session.ticket",
            "ticket": v.ticket,
            "valid_seconds": v.valid_seconds,
            "usage": {
                "total_tokens": v.usage.input_tokens + v.usage.output_tokens,
                "input_tokens": v.usage.input_tokens,
                "output_tokens": v.usage.output_tokens,
                "input_token_details": {"cached_tokens": v.usage.cached_tokens},
            },
        }
    ],
    Move: lambda v: [{"type": "x_session.move", "ticket": v.ticket, "seconds_left": round(v.seconds_left, 1)}],
}


def write_events(event: Told) -> list[dict[str, Any]]:
    """The server events that tell `event`, without their ids. It is no `Reply`, which is one already."""
    return _WRITERS[type(event)](event)
