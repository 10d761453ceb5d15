"""The OpenAI Realtime API (GA) spoken to one client: its events into calls on the conversation, and back.

Pure. Errors go to the client as `error` events and leave the call alive; benign ones are never sent, because some
clients (pipecat) hang up on any.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from server.access.call_time import Expiring
from server.access.rate_limit import AudioAllowance, AudioRateExceeded
from server.audio.formats import AudioFormatError, Decoder
from server.conversation.commands import ItemsLeftOut, TurnEnded, VoiceJudged
from server.conversation.config import ResponseConfig
from server.conversation.conversation import Conversation
from server.conversation.errors import ConversationError, ItemNotFound
from server.conversation.events import Transcribed, TranscriptionFailed, WordsHeard
from server.conversation.history import Item
from server.conversation.resuming import Played
from server.dialects.dialect import (
    Abilities,
    AudioReceived,
    DialectOutput,
    FieldsIgnored,
    Reply,
    TicketShown,
    TicketWanted,
    Told,
    TurnTimings,
)
from server.dialects.openai import client_events as c
from server.dialects.openai import saved_call
from server.dialects.openai.accepted import accepted_values, unknown_fields
from server.dialects.openai.beta import in_ga_names
from server.dialects.openai.items import read_item
from server.dialects.openai.saved_call import SavedCall
from server.dialects.openai.server_events import write_events
from server.dialects.openai.session import (
    McpTool,
    Session,
    Tool,
    audio_format,
    languages,
    llm_tools,
    modality,
    token_limit,
    tool_choice,
    tool_filler,
    voice_name,
)
from server.errors import VoicefleetError
from server.limits import LimitExceeded

_MAX_ITEM_SECONDS = 30.0  # some 15 ms of decoding
_MAX_IGNORED = 8
_MCP_REFUSED = "MCP tools are not supported; declare them as function tools, which your application runs"
_TOOLS_REFUSED = (
    "the node's language model calls no functions, and would answer as if there were none; "
    "VOICE_LLM takes a model that does"
)


class ClientError(VoicefleetError):
    """A client's message that can't be acted on."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class OpenAiDialect:
    """One client's side of a session."""

    def __init__(
        self,
        session: Session,
        conversation: Conversation,
        new_id: Callable[[str], str],
        abilities: Abilities | None = None,
    ) -> None:
        """`abilities` are the node's; by default it can do whatever a client asks for."""
        self._abilities = abilities or Abilities()
        self._session = session
        self._conversation = conversation
        self._allowance = AudioAllowance(conversation.limits.audio_rate, conversation.limits.audio_burst_seconds)
        self._new_id = new_id
        self._event_prefix = new_id("event")
        self._event_numbers = itertools.count(1)
        self._greeted = False
        self._untouched = True  # by the client
        self._configure(session)

    def greet(self) -> Sequence[DialectOutput]:
        """session.created, before anything else."""
        if self._greeted:
            return []
        self._greeted = True
        return [_session_event("session.created", msgspec.json.encode(self._session))]

    @property
    def can_resume(self) -> bool:
        """Whether the client knows what to do with a ticket."""
        return self._session.x_resume

    def state(self, now: float, most_bytes: int) -> bytes:
        """The call as a ticket keeps it, in at most so many bytes. Raises `TicketTooLarge`."""
        return saved_call.encode(SavedCall(self._session, self._conversation.snapshot(now)), most_bytes)

    def resume(self, state: bytes, played: Played | None, now: float) -> Sequence[DialectOutput]:
        """Go on with the call that `state` is of: its session, its items, and what is still to be said."""
        call = saved_call.decode(state)
        self._untouched = False
        outputs = self._configure(call.session)
        told = self.greet() or [_session_event("session.updated", msgspec.json.encode(call.session))]
        return [*told, *outputs, *self._conversation.restore(call.conversation, played, now)]

    def receive(self, message: str | bytes, now: float) -> Sequence[DialectOutput]:
        """Act on one message of the client's."""
        if isinstance(message, bytes):
            return [self.refuse(ClientError("invalid_message", "got a binary message; this dialect takes JSON text"))]
        try:
            return self._act(c.decode(message), now)
        except msgspec.ValidationError as error:
            found, event_id = c.envelope(message)
            return [self.refuse(_explain(error, found, c.event_type(found)), event_id)]
        except (msgspec.DecodeError, UnicodeError) as error:
            return [self.refuse(ClientError("invalid_json", f"the message is not JSON: {error}"))]
        except RecursionError:
            return [self.refuse(ClientError("invalid_json", "the message's JSON is nested too deeply"))]
        except (ClientError, ConversationError, AudioFormatError, AudioRateExceeded, LimitExceeded) as error:
            return [self.refuse(error, c.envelope(message)[1])]

    def refuse(self, error: VoicefleetError, event_id: str | None = None) -> Reply:
        """An `error` event. `event_id` is that of the client's event that was wrong."""
        return Reply(
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "code": getattr(error, "code", "invalid_value"),
                    "message": str(error),
                    "param": getattr(error, "param", None),
                    "event_id": event_id,
                },
            },
            getattr(error, "limit", ""),
        )

    def encode(self, output: Told | FieldsIgnored | ItemsLeftOut) -> list[bytes]:
        """The server events that tell `output`."""
        match output:
            case Reply(message):
                events = [message]
            case WordsHeard() | Transcribed() | TranscriptionFailed() if (
                self._session.audio.input.transcription is None
            ):
                events = []
            case TurnTimings() if not self._session.x_turn_timings:
                events = []
            case TurnEnded() | VoiceJudged() if not self._session.x_turn_decisions:
                events = []
            case Expiring() if not self._session.x_session_expiring:
                events = []
            case FieldsIgnored() | ItemsLeftOut():  # which are the operator's to know
                events = []
            case _:
                events = write_events(output)
        return [
            msgspec.json.encode({"event_id": f"{self._event_prefix}_{next(self._event_numbers)}", **event})
            for event in events
        ]

    def _act(self, event: c.ClientEvent, now: float) -> Sequence[DialectOutput]:
        conversation = self._conversation
        untouched, self._untouched = self._untouched, False
        match event:
            case c.AppendAudio(audio=audio):
                self._allowance.take(self.input_format.duration(len(audio)), now)
                return [AudioReceived(audio)]
            case c.CommitAudio():
                return conversation.commit_audio()
            case c.ClearAudio():
                return conversation.clear_audio()
            case c.ClearOutputAudio():
                return conversation.clear_playback(now)
            case c.SessionUpdate() | c.ResumeSession() | c.RetrieveTicket():
                return self._act_on_session(event, untouched)
            case c.CreateItem(item=wire, previous_item_id=after):
                item, audio = self._read(wire, "item")
                return conversation.add_item(item, after, self._decode(audio, now))
            case c.RetrieveItem(item_id=item_id):
                return conversation.retrieve_item(item_id)
            case c.TruncateItem():
                return conversation.truncate_item(event.item_id, event.content_index, event.audio_end_ms, now)
            case c.DeleteItem(item_id=item_id):
                return conversation.delete_item(item_id)
            case c.CreateResponse(response=params):
                return self._create_response(params or {}, now)
            case c.CancelResponse(response_id=response_id):
                return conversation.cancel_response(response_id, now)

    def _act_on_session(
        self, event: c.SessionUpdate | c.ResumeSession | c.RetrieveTicket, untouched: bool
    ) -> Sequence[DialectOutput]:
        """`untouched`: the client has sent nothing before."""
        match event:
            case c.SessionUpdate(session=patch):
                return self._update_session(patch)
            case c.ResumeSession(ticket=ticket, played=played):
                if not untouched:
                    raise ClientError("resume_not_first", "x_session.resume: takes no event before it", "type")
                return [TicketShown(ticket, Played(played.item_id, played.audio_end_ms / 1000) if played else None)]
            case c.RetrieveTicket():
                if not self.can_resume:
                    raise ClientError("invalid_value", "x_session.ticket.retrieve: takes a session with x_resume: true")
                return [TicketWanted()]

    def _decode(self, audio: bytes, now: float) -> bytes:
        """A whole item's audio as 16 kHz PCM. It is decoded in one go, on the event loop, and so kept short."""
        if len(audio) < self.input_format.sample_bytes:
            self.input_format.check(len(audio))
        audio = audio[: len(audio) - len(audio) % self.input_format.sample_bytes]
        if (seconds := self.input_format.duration(len(audio))) > _MAX_ITEM_SECONDS:
            raise ClientError(
                "invalid_value",
                f"got {seconds:.0f} s of audio; an item takes at most {_MAX_ITEM_SECONDS:.0f} s, "
                "input_audio_buffer.append any length in steps",
                "item.content",
            )
        self._allowance.take(seconds, now)
        decoder = Decoder(self.input_format)
        return decoder.decode(audio).tobytes() + decoder.flush().tobytes()

    def _update_session(self, patch: Mapping[str, Any]) -> Sequence[DialectOutput]:
        patch = in_ga_names(patch, "session")
        try:
            session = self._session.updated(patch)
        except msgspec.ValidationError as error:
            raise _explain(error, "session.update", Session, "session.") from None
        self._check_tools(session.tools, "session.tools")
        encoded = msgspec.json.encode(session)
        size = len(encoded)
        self._conversation.limits.check("max_settings_bytes", size, f"settings of {size:,} bytes as JSON")
        if self._abilities.languages is not None and (transcription := session.audio.input.transcription):
            for language in set(languages(transcription)) - self._abilities.languages:
                raise ClientError(
                    "invalid_value",
                    f"session.update: the node's recogniser lacks the language {language[:16]!r}; "
                    f"takes {', '.join(map(repr, sorted(self._abilities.languages)))}",
                    "session.audio.input.transcription.language",
                )
        outputs = self._configure(session)
        wanted = [TicketWanted()] if self.can_resume else []
        return [*_ignored(Session, patch), _session_event("session.updated", encoded), *outputs, *wanted]

    def _configure(self, session: Session) -> Sequence[DialectOutput]:
        self._session = session
        self.input_format = audio_format(session.audio.input.format)
        self.output_format = audio_format(session.audio.output.format)
        return self._conversation.configure(session.config())

    def _create_response(self, given: Mapping[str, Any], now: float) -> Sequence[DialectOutput]:
        given = in_ga_names(given, "response")
        try:
            params = msgspec.convert(given, c.ResponseParams)
        except msgspec.ValidationError as error:
            raise _explain(error, "response.create", c.ResponseParams, "response.") from None
        items = None
        if params.input is not None:
            count = len(params.input)
            self._conversation.limits.check("max_items", count, f"an input of {count:,} items")
            items = [self._input_item(wire, index) for index, wire in enumerate(params.input)]
        return [
            *_ignored(c.ResponseParams, given),
            *self._conversation.respond(self._response_config(params), items, now=now),
        ]

    def _read(self, wire: c.WireItem, param: str) -> tuple[Item, bytes]:
        if isinstance(wire, c.MessageItem):
            count = len(wire.content)
            self._conversation.limits.check("max_parts", count, f"a message of {count:,} parts")
        return read_item(wire, self._new_id("item"), param)

    def _check_tools(self, tools: Sequence[Tool], param: str) -> None:
        self._conversation.limits.check("max_tools", len(tools), f"{len(tools):,} tools")
        for index, tool in enumerate(tools):
            if isinstance(tool, McpTool):
                raise ClientError("mcp_not_supported", _MCP_REFUSED, f"{param}[{index}]")
        if tools and not self._abilities.calls_functions:
            raise ClientError("tools_not_supported", _TOOLS_REFUSED, param)

    def _input_item(self, wire: c.WireItem | c.ItemReference, index: int) -> Item:
        param = f"response.input[{index}]"
        if isinstance(wire, c.ItemReference):
            if wire.id not in self._conversation.history:
                raise ItemNotFound(wire.id, f"{param}.id")
            return self._conversation.history.get(wire.id)
        item, audio = self._read(wire, param)
        if audio:
            raise ClientError("invalid_value", "audio in a response's own input takes a transcript", param)
        return item

    def _response_config(self, params: c.ResponseParams) -> ResponseConfig:
        self._check_tools(params.tools or [], "response.tools")
        output = (params.audio or c.ResponseAudio()).output or c.ResponseAudioOutput()
        if output.format is not None and audio_format(output.format) != self.output_format:
            raise ClientError(
                "invalid_value",
                "response.create: a response has the session's own audio format; session.update changes it",
                "response.audio.output.format",
            )
        given = {
            "instructions": params.instructions,
            "tools": None if params.tools is None else llm_tools(params.tools),
            "tool_choice": None if params.tool_choice is None else tool_choice(params.tool_choice),
            "modality": None if params.output_modalities is None else modality(params.output_modalities),
            "voice": None if output.voice is None else voice_name(output.voice),
            "temperature": params.x_temperature,
            "parallel_tool_calls": params.parallel_tool_calls,
            "reasoning_effort": params.reasoning.effort if params.reasoning else None,
            "metadata": params.metadata,
            "in_conversation": False if params.conversation == "none" else None,
            "interruptible": params.x_interruptible,
            "tool_filler": tool_filler(params.x_tool_filler),
        }
        own = self._conversation.config.response
        if params.max_output_tokens is not None:  # "inf" lifts the session's limit
            own = replace(own, max_output_tokens=token_limit(params.max_output_tokens))
        return replace(own, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # names and types are ResponseConfig's, above


def _session_event(name: str, encoded: bytes) -> Reply:
    return Reply({"type": name, "session": msgspec.Raw(encoded)})


def _ignored(known: type, given: dict[str, Any]) -> list[FieldsIgnored]:
    names = unknown_fields(known, given, _MAX_IGNORED)
    if given.get("prompt") is not None:
        names.insert(0, "prompt")  # one that the hosted service keeps; agents-realtime sends its own with it
    return [FieldsIgnored(tuple(names[:_MAX_IGNORED]))] if names else []


def _explain(error: msgspec.ValidationError, event_type: str | None, root: type, prefix: str = "") -> ClientError:
    """msgspec says what it expected and where; the client is told both, and never its own data.

    `root` is the type that was expected, `prefix` its place in the event.
    """
    if event_type not in c.CLIENT_EVENT_TYPES:
        accepted = ", ".join(c.CLIENT_EVENT_TYPES)
        got = "no type" if event_type is None else f"unknown type {event_type[:64]!r}"
        return ClientError("unknown_event", f"got an event of {got}; takes {accepted}", "type")
    message, _, path = str(error).partition(" - at ")
    path = path.strip("`")
    choices = accepted_values(root, path)
    takes = f"; takes {' or '.join(choices)}" if choices else ""
    param = prefix + path.removeprefix("$").removeprefix(".")
    return ClientError("invalid_value", f"{event_type}: {message}{takes}", param or None)
