"""The OpenAI Realtime API (GA) spoken to one client: its events into calls on the conversation, and back.

Pure. Errors go to the client as `error` events and leave the call alive; benign ones are never sent, because some
clients (pipecat) hang up on any.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from server.access.call_time import CallTime, Expiring
from server.access.rate_limit import AudioAllowance, AudioRateExceeded
from server.audio.formats import AudioFormatError, Decoder
from server.conversation.commands import ItemsLeftOut, TurnEnded, VoiceJudged
from server.conversation.conversation import Conversation
from server.conversation.errors import ConversationError, ItemNotFound
from server.conversation.events import AudioDelta, Transcribed, TranscriptionFailed, WordsHeard
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
from server.dialects.openai.beta import in_ga_names
from server.dialects.openai.client_errors import ClientError, explain, ignored
from server.dialects.openai.items import read_item
from server.dialects.openai.response_params import response_config
from server.dialects.openai.saved_call import SavedCall
from server.dialects.openai.server_events import Error, ErrorDetails
from server.dialects.openai.session import Session, audio_format
from server.dialects.openai.session_change import change_session, check_tools
from server.dialects.openai.telling import write_events
from server.errors import VoicefleetError
from server.limits import LimitExceeded
from server.wire_message import WireMessage

_MAX_ITEM_SECONDS = 30.0  # some 15 ms of decoding
_BINARY_REFUSED = "got a binary message; takes JSON text, and audio in binary messages on a call to ?audio=binary"
_TYPE_SETTLED = "session.update: the type of a session is settled once something has been said in it"
_NO_ANSWERS = "response.create: a transcription session gives no answers; takes a session of type 'realtime'"
_IMAGES_REFUSED = "the node's language model is not known to take images; VOICE_LLM_IMAGES says that it does"


class OpenAiDialect:
    """One client's side of a session."""

    def __init__(
        self,
        session: Session,
        conversation: Conversation,
        new_id: Callable[[str], str],
        abilities: Abilities | None = None,
        binary_audio: bool = False,
        call_time: CallTime | None = None,
    ) -> None:
        """`abilities` are the node's; by default it can do whatever a client asks for. `call_time` is when it ends.

        `binary_audio`: audio is what binary messages hold, both ways, and the rest is JSON as ever.
        """
        self._call_time = call_time
        self._abilities = abilities or Abilities()
        self._binary_audio = binary_audio
        self._session = session
        self._conversation = conversation
        self._allowance = AudioAllowance(conversation.limits.audio_rate, conversation.limits.audio_burst_seconds)
        self._new_id = new_id
        self._event_prefix = new_id("event")
        self._event_numbers = itertools.count(1)
        self._greeted = False
        self._untouched = True  # by the client
        self._configure(session)

    def greet(self, now: float) -> Sequence[DialectOutput]:
        """session.created, before anything else."""
        if self._greeted:
            return []
        self._greeted = True
        return [_session_event("session.created", self._shown())]

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
        told = self.greet(now) or [_session_event("session.updated", self._shown())]
        return [*told, *outputs, *self._conversation.restore(call.conversation, played, now)]

    def receive(self, message: str | bytes, now: float) -> Sequence[DialectOutput]:
        """Act on one message of the client's."""
        if isinstance(message, bytes):
            return self._receive_binary(message, now)
        try:
            return self._act(c.decode(message), now)
        except msgspec.ValidationError as error:
            found, event_id = c.envelope(message)
            return [self.refuse(explain(error, found, c.event_type(found)), event_id)]
        except (msgspec.DecodeError, UnicodeError) as error:
            return [self.refuse(ClientError("invalid_json", f"the message is not JSON: {error}"))]
        except RecursionError:
            return [self.refuse(ClientError("invalid_json", "the message's JSON is nested too deeply"))]
        except (ClientError, ConversationError, AudioFormatError, AudioRateExceeded, LimitExceeded) as error:
            return [self.refuse(error, c.envelope(message)[1])]

    def refuse(self, error: VoicefleetError, event_id: str | None = None) -> Reply:
        """An `error` event. `event_id` is that of the client's event that was wrong."""
        details = ErrorDetails(
            code=getattr(error, "code", "invalid_value"),
            message=str(error),
            param=getattr(error, "param", None),
            event_id=event_id,
        )
        return Reply(msgspec.to_builtins(Error(error=details)), getattr(error, "limit", ""))

    def encode(self, output: Told | FieldsIgnored | ItemsLeftOut) -> list[WireMessage]:
        """The server events that tell `output`; of a binary call's audio, the audio itself."""
        match output:
            case AudioDelta(audio=audio) if self._binary_audio:
                return [WireMessage(audio, binary=True)]
            case Reply(message):
                return [WireMessage(msgspec.json.encode(message | {"event_id": self._event_id()}))]
            case WordsHeard() | Transcribed() | TranscriptionFailed() if not self._session.tells_words:
                return []
            case TurnTimings() if not self._session.x_turn_timings:
                return []
            case TurnEnded() | VoiceJudged() if not self._session.x_turn_decisions:
                return []
            case Expiring() if not self._session.x_session_expiring:
                return []
            case FieldsIgnored() | ItemsLeftOut():  # which are the operator's to know
                return []
            case _:
                events = write_events(output)
        for event in events:
            event.event_id = self._event_id()
        return [WireMessage(msgspec.json.encode(event)) for event in events]

    def _event_id(self) -> str:
        return f"{self._event_prefix}_{next(self._event_numbers)}"

    def _receive_binary(self, audio: bytes, now: float) -> Sequence[DialectOutput]:
        if not self._binary_audio:
            return [self.refuse(ClientError("invalid_message", _BINARY_REFUSED))]
        self._untouched = False
        try:
            return self._take_audio(audio, now)
        except AudioRateExceeded as error:
            return [self.refuse(error)]

    def _take_audio(self, audio: bytes, now: float) -> Sequence[DialectOutput]:
        """The caller's next audio. Raises `AudioRateExceeded`."""
        self._allowance.take(self.input_format.duration(len(audio)), now)
        return [AudioReceived(audio)]

    def _act(self, event: c.ClientEvent, now: float) -> Sequence[DialectOutput]:
        conversation = self._conversation
        untouched, self._untouched = self._untouched, False
        match event:
            case c.AppendAudio(audio=audio):
                return self._take_audio(audio, now)
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
        session = change_session(self._session, patch, self._abilities, self._conversation.limits)
        if session.type != self._session.type and len(self._conversation.history):
            raise ClientError("invalid_value", _TYPE_SETTLED, "session.type")
        outputs = self._configure(session)
        wanted = [TicketWanted()] if self.can_resume else []
        told = _session_event("session.updated", self._shown())
        return [*ignored(type(session.shown()), patch), told, *outputs, *wanted]

    def _shown(self) -> bytes:
        return msgspec.json.encode(self._session.shown())

    def _configure(self, session: Session) -> Sequence[DialectOutput]:
        self._session = replace(session, expires_at=self._call_time.expires_at if self._call_time else None)
        self.input_format = audio_format(session.audio.input.format)
        self.output_format = audio_format(session.audio.output.format)
        return self._conversation.configure(session.config())

    def _create_response(self, given: Mapping[str, Any], now: float) -> Sequence[DialectOutput]:
        if self._session.transcribes:
            raise ClientError("invalid_value", _NO_ANSWERS, "type")
        given = in_ga_names(given, "response")
        try:
            params = msgspec.convert(given, c.ResponseParams)
        except msgspec.ValidationError as error:
            raise explain(error, "response.create", c.ResponseParams, "response.") from None
        check_tools(params.tools or [], "response.tools", self._abilities, self._conversation.limits)
        items = None
        if params.input is not None:
            count = len(params.input)
            self._conversation.limits.check("max_items", count, f"an input of {count:,} items")
            items = [self._input_item(wire, index) for index, wire in enumerate(params.input)]
        config = response_config(params, self._conversation.config.response)
        if params.x_say:
            outputs = self._conversation.recite(params.x_say, config, now=now)
        else:
            outputs = self._conversation.respond(config, items, now=now)
        return [*ignored(c.ResponseParams, given), *outputs]

    def _read(self, wire: c.WireItem, param: str) -> tuple[Item, bytes]:
        if isinstance(wire, c.MessageItem):
            count = len(wire.content)
            self._conversation.limits.check("max_parts", count, f"a message of {count:,} parts")
            for index, part in enumerate(wire.content):
                if part.type == "input_image" and not self._abilities.takes_images:
                    raise ClientError("images_not_supported", _IMAGES_REFUSED, f"{param}.content[{index}]")
        return read_item(wire, self._new_id("item"), param)

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


def _session_event(name: str, encoded: bytes) -> Reply:
    return Reply({"type": name, "session": msgspec.Raw(encoded)})
