"""What a conversation has the pipeline do, and what it has it note for the operator.

The order in which a conversation gives commands, and events, is the order in which they are to be done and told.
"""

from dataclasses import dataclass, replace
from typing import Literal

from server.conversation.config import ResponseConfig
from server.conversation.response import Response
from server.conversation.turn_policy import Reason
from server.conversation.turn_words import folded
from server.llm.interface import ChatRequest, UserText
from server.spoken_lines import LineKind

EndOfTurn = Literal[Reason, "silence", "committed", "audio_gone"]
Judgement = Literal["interruption", "backchannel", "echo", "noise", "turn", "false"]


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Recognise `pcm` (16-bit mono, 16 kHz) and hand the words back with the same `item_id` and `attempt`.

    A `fragment` is what is heard so far of a voice that may be no turn: it is urgent, and need not be sure. `thorough`:
    a `Glimpse` of nearly the same audio was not sure.
    """

    item_id: str
    attempt: int
    pcm: bytes
    fragment: bool = False
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Say at once, and less surely than for `Transcribe`, what words are in `pcm`: the caller may still be speaking.

    The answer has no words where that can't be said. A new one of these for the same item takes the place of the last,
    which is answered no more.
    """

    item_id: str
    attempt: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class JudgeTurn:
    """Say how finished `pcm` (16-bit mono, 16 kHz) sounds, which ends in a pause; with its `item_id` and `attempt`."""

    item_id: str
    attempt: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class StopTranscribing:
    """Neither words nor judgement are wanted any more: the caller went on, or the audio or its item is gone."""

    item_id: str


@dataclass(frozen=True, slots=True)
class GoesOn:
    """The rest is wanted of the answer `response_id`: `heard` seconds of its audio were, and `kept` is of its text."""

    response_id: str
    heard: float
    kept: str


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask the language model, and speak (or write) its answer as `response`; `text_bytes` is the request's size.

    Where the rest of an answer that it `goes_on` with is at hand, the model need not be asked.
    """

    response: Response
    request: ChatRequest
    text_bytes: int
    goes_on: GoesOn | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """Speak `words` as `response`; no model is asked."""

    response: Response
    words: str


@dataclass(frozen=True, slots=True)
class Speculate:
    """Ask the language model already, on the chance that the turn is over: of what it says nothing leaves before a
    `Generate` that it foresaw. `StopTranscribing` or `WentOn` of the item is the end of it; `text_bytes` as in
    `Generate`, `input_tokens` what the model is likely to count."""

    item_id: str
    config: ResponseConfig
    request: ChatRequest
    text_bytes: int
    input_tokens: int

    def foresaw(self, generate: Generate) -> bool:
        """Whether it asked just that: the same words of the model, to be said or written in the same way."""
        return self.config == generate.response.config and _folded(self.request) == _folded(generate.request)


@dataclass(frozen=True, slots=True)
class WentOn:
    """The caller went on after a moment of quiet, and what was asked on the chance of their end is in vain."""

    item_id: str


@dataclass(frozen=True, slots=True)
class StopGenerating:
    """Free the language model and the voice: nobody listens any more.

    `may_go_on`: the rest may be wanted yet, by the next `Generate`. Until then, or until this comes once more without
    it, what the model says is to be kept.
    """

    response_id: str
    may_go_on: bool = False


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The caller's turn is over; their last speech was `silence` seconds ago. A turn's waterfall starts here.

    `reason` is that of the turn policy or, where that has no say, of another rule; `longest_pause` is the longest one
    within the turn: a rule of plain silence shorter than that would have split it. `sounds_finished` and `fall` are as
    in the policy's evidence.
    """

    silence: float
    reason: EndOfTurn
    longest_pause: float = 0.0
    sounds_finished: float | None = None
    fall: float | None = None


@dataclass(frozen=True, slots=True)
class VoiceJudged:
    """Voice was heard while the assistant spoke, and it is known what it was; `voiced` seconds of it, to be counted.

    A "turn" outlasted the assistant's speech. "false": what was taken for an interruption had no words.
    """

    judgement: Judgement
    voiced: float = 0.0


@dataclass(frozen=True, slots=True)
class ItemsLeftOut:
    """The conversation has outgrown what the model can read: so many more of its oldest items are not shown to it."""

    count: int


@dataclass(frozen=True, slots=True)
class PlayoutRanDry:
    """The client had nothing to play in the middle of the answer: an underrun, to be counted."""


@dataclass(frozen=True, slots=True)
class SaidInstead:
    """The caller hears a line in place of an answer that can't be given, to be counted."""

    kind: LineKind


Command = (
    Transcribe
    | Glimpse
    | JudgeTurn
    | StopTranscribing
    | Generate
    | Say
    | Speculate
    | WentOn
    | StopGenerating
    | TurnEnded
    | VoiceJudged
    | ItemsLeftOut
    | PlayoutRanDry
    | SaidInstead
)


def _folded(request: ChatRequest) -> ChatRequest:
    """The request, however its last words are written."""
    messages = list(request.messages)
    if messages and isinstance(last := messages[-1], UserText):
        messages[-1] = replace(last, text=folded(last.text))
    return replace(request, messages=messages)
