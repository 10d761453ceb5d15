"""What a conversation says, as server events of the OpenAI Realtime API (GA): one function from our event to theirs.

Pure.
"""

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from server.access.call_time import Expiring
from server.conversation import events as e
from server.conversation.commands import TurnEnded, VoiceJudged
from server.conversation.config import Modality
from server.conversation.history import PartKind
from server.conversation.response import Response
from server.dialects.dialect import Move, TicketIssued, Told, TurnTimings
from server.dialects.openai import server_events as s
from server.dialects.openai import server_objects as o
from server.dialects.openai.items import write_item
from server.dialects.openai.session import wire_format


def write_response(response: Response) -> o.Response:
    """The response object in response.created and response.done."""
    config = response.config
    done = response.status != "in_progress"
    output_format = UNSET if config.output_format is None else wire_format(config.output_format)
    return o.Response(
        id=response.id,
        object="realtime.response",
        status=response.status,
        status_details=_status_details(response) if done else None,
        output=[write_item(item) for item in response.output],
        conversation_id="conversation" if config.in_conversation else None,
        output_modalities=[config.modality],
        max_output_tokens=config.max_output_tokens or "inf",
        audio=o.GivenAudio(o.GivenAudioOutput(config.voice, output_format)),
        metadata=config.metadata,
        usage=_usage(response, config.modality) if done else None,
    )


def _usage(response: Response, modality: Modality) -> o.Usage:
    usage = response.usage
    text_out, audio_out = (usage.output_tokens, 0) if modality == "text" else (0, usage.output_tokens)
    return o.Usage(
        total_tokens=usage.input_tokens + usage.output_tokens,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        input_token_details=o.InputTokens(
            usage.input_tokens,
            0,
            0,
            cached_tokens=usage.cached_tokens,
            cached_tokens_details=o.TokensByKind(usage.cached_tokens, 0, 0),
        ),
        output_token_details=o.TokensByKind(text_out, audio_out),
    )


def _status_details(response: Response) -> o.StatusDetails:
    failure = response.failure
    return o.StatusDetails(
        response.status,
        response.reason or UNSET,
        o.Failure("server_error", failure.code, failure.message) if failure else UNSET,
    )


def _in_part(place: e.Place) -> dict[str, Any]:
    return _in_response(place) | {"item_id": place.item_id}


def _in_response(place: e.Place) -> dict[str, Any]:
    return {"response_id": place.response_id, "output_index": place.output_index}


def _part(kind: PartKind, text: str) -> o.Part:
    return o.AudioPart(text) if kind == "output_audio" else o.TextPart(text)


def _text_delta(event: e.TextDelta) -> s.ServerEvent:
    kind = s.TranscriptDelta if event.kind == "output_audio" else s.OutputTextDelta
    return kind(**_in_part(event.place), delta=event.delta)


def _part_done(event: e.PartDone) -> list[s.ServerEvent]:
    where = _in_part(event.place)
    part_done = s.PartDone(**where, part=_part(event.kind, event.text))
    if event.kind == "output_text":
        return [s.OutputTextDone(**where, text=event.text), part_done]
    return [s.AudioDone(**where), s.TranscriptDone(**where, transcript=event.text), part_done]


def _transcribed(event: e.Transcribed) -> list[s.ServerEvent]:
    completed = s.TranscriptionCompleted(
        item_id=event.item_id,
        transcript=event.transcript,
        usage=s.Duration(event.seconds),
        logprobs=[_log_probability(token) for token in event.tokens] if event.tokens else UNSET,
    )
    if event.transcript and not event.untold:
        return [completed]
    return [s.TranscriptionDelta(item_id=event.item_id, delta=event.untold), completed]


def _log_probability(token: e.Token) -> o.LogProbability:
    return o.LogProbability(token.text.decode(errors="replace"), list(token.text), token.log_probability)


def _ticket(event: TicketIssued) -> s.ServerEvent:
    usage = event.usage
    total = usage.input_tokens + usage.output_tokens
    cached = s.CachedTokens(usage.cached_tokens)
    return s.SessionTicket(
        ticket=event.ticket,
        valid_seconds=event.valid_seconds,
        usage=s.CallUsage(total, usage.input_tokens, usage.output_tokens, cached),
    )


_WRITERS: dict[type, Callable[[Any], list[s.ServerEvent]]] = {
    e.AudioDelta: lambda v: [s.AudioDelta(**_in_part(v.place), delta=v.audio)],
    e.TextDelta: lambda v: [_text_delta(v)],
    e.SpeechStarted: lambda v: [s.SpeechStarted(item_id=v.item_id, audio_start_ms=v.audio_start_ms)],
    e.SpeechStopped: lambda v: [s.SpeechStopped(item_id=v.item_id, audio_end_ms=v.audio_end_ms)],
    e.IdleTimedOut: lambda v: [
        s.TimeoutTriggered(item_id=v.item_id, audio_start_ms=v.audio_start_ms, audio_end_ms=v.audio_end_ms)
    ],
    e.AudioCommitted: lambda v: [s.Committed(item_id=v.item_id, previous_item_id=v.previous_item_id)],
    e.AudioCleared: lambda _: [s.Cleared()],
    e.WordsHeard: lambda v: [s.TranscriptionDelta(item_id=v.item_id, delta=v.delta)],
    e.Transcribed: _transcribed,
    e.TranscriptionFailed: lambda v: [
        s.TranscriptionFailed(item_id=v.item_id, error=s.TranscriptionError(v.code, v.message))
    ],
    e.ItemAdded: lambda v: [s.ItemAdded(previous_item_id=v.previous_item_id, item=write_item(v.item))],
    e.ItemDone: lambda v: [s.ItemDone(previous_item_id=v.previous_item_id, item=write_item(v.item))],
    e.ItemRetrieved: lambda v: [s.ItemRetrieved(item=write_item(v.item))],
    e.ItemDeleted: lambda v: [s.ItemDeleted(item_id=v.item_id)],
    e.ItemTruncated: lambda v: [
        s.ItemTruncated(item_id=v.item_id, content_index=v.content_index, audio_end_ms=v.audio_end_ms)
    ],
    e.ResponseCreated: lambda v: [s.ResponseCreated(response=write_response(v.response))],
    e.ResponseDone: lambda v: [s.ResponseDone(response=write_response(v.response)), s.RateLimitsUpdated()],
    e.OutputItemAdded: lambda v: [s.OutputItemAdded(**_in_response(v.place), item=write_item(v.item))],
    e.OutputItemDone: lambda v: [s.OutputItemDone(**_in_response(v.place), item=write_item(v.item))],
    e.PartAdded: lambda v: [s.PartAdded(**_in_part(v.place), part=_part(v.kind, ""))],
    e.PartDone: _part_done,
    e.ArgumentsDelta: lambda v: [s.ArgumentsDelta(**_in_part(v.place), call_id=v.call_id, delta=v.delta)],
    e.ArgumentsDone: lambda v: [
        s.ArgumentsDone(**_in_part(v.place), call_id=v.call_id, name=v.name, arguments=v.arguments)
    ],
    e.PlaybackCleared: lambda v: [s.PlaybackCleared(response_id=v.response_id)],
    TurnTimings: lambda v: [s.TurnTimings(response_id=v.response_id, stages_ms=v.stages_ms)],
    TurnEnded: lambda v: [
        s.TurnDecided(
            decision="turn_ended",
            reason=v.reason,
            silence_ms=round(v.silence * 1000),
            longest_pause_ms=round(v.longest_pause * 1000),
            sounds_finished=v.sounds_finished,
            fall_db=None if v.fall is None else round(v.fall, 1),
        )
    ],
    VoiceJudged: lambda v: [s.TurnDecided(decision=v.judgement, voiced_ms=round(v.voiced * 1000))],
    Expiring: lambda v: [s.SessionExpiring(reason=v.reason, seconds_left=round(v.seconds_left, 1))],
    TicketIssued: lambda v: [_ticket(v)],
    Move: lambda v: [s.SessionMove(ticket=v.ticket, seconds_left=round(v.seconds_left, 1))],
}


def write_events(event: Told) -> list[s.ServerEvent]:
    """The server events that tell `event`, without their ids. It is no `Reply`, which is one already."""
    return _WRITERS[type(event)](event)
