"""One utterance of the caller's, on its way from audio to an item of the conversation."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from server.conversation.commands import Transcribe
from server.conversation.early_words import EarlyWords
from server.conversation.endpointing import Stopped
from server.conversation.events import AudioCommitted, ItemAdded, ItemDone, Token, Transcribed, TranscriptionFailed
from server.conversation.history import History, Message, Part, snapshot
from server.conversation.interruptions import Evidence
from server.conversation.outputs import Output

# Recognition begins at every pause anew; of a monologue that would be too much work on a mere chance of its end.
LONGEST_CHANCE_SECONDS = 15.0
# What was said before a pause is settled once it is that long: enough for the recogniser to go by.
_SETTLED_SECONDS = 6.0


@dataclass(slots=True)
class Utterance:
    """Audio on its way to being words.

    `attempt` counts the requests to recognise it, and only the last one's answer counts; `part` is set once it is an
    item's. `settled` are the words of its first part, of `settled_seconds`, which ended with a pause; recognition goes
    on from `start`. `question` asks for the words at a pause, and is held back while those that were asked for before
    may do. Of a candidate, `paused` says that its voice has fallen silent, `whole` that all of it up to there is being
    recognised, or has been; `over` is set at its end, and `pcm` then.
    """

    item_id: str
    start: float = 0.0
    settled: str = ""
    settled_seconds: float = 0.0
    settled_tokens: tuple[Token, ...] = ()
    part: Part | None = None
    attempt: int = 0
    asked: bool = False
    question: Transcribe | None = None
    answer: Transcribed | TranscriptionFailed | None = None
    level: float | None = None
    evidence: Evidence | None = None
    paused: bool = False
    whole: bool = False
    over: Stopped | None = None
    pcm: bytes = b""
    early: EarlyWords = field(default_factory=EarlyWords)

    def settle(self, at: float) -> None:
        """The caller goes on after a pause, in whose middle `at` lies: what was heard up to there need not be again."""
        heard = self.answer if self.asked else None
        if isinstance(heard, Transcribed) and heard.transcript and at - self.start >= _SETTLED_SECONDS:
            self.settled, self.settled_tokens = heard.transcript, heard.tokens
            self.settled_seconds += at - self.start
            self.start = at

    def complete(self, answer: Transcribed | TranscriptionFailed) -> Transcribed | TranscriptionFailed:
        """The words of all of it; where those of its end are not to be had, of what was settled before."""
        if not self.settled:
            return answer
        if isinstance(answer, TranscriptionFailed):
            return Transcribed(self.item_id, 0, self.settled, self.settled_seconds, tokens=self.settled_tokens)
        return replace(
            answer,
            transcript=f"{self.settled} {answer.transcript}".strip(),
            seconds=self.settled_seconds + answer.seconds,
            tokens=self.settled_tokens + answer.tokens,
        )


def commit_item(history: History, item: Message, wants_answer: bool = True) -> Iterator[Output]:
    """The caller's audio (or their silence) becomes the newest item."""
    previous = history.insert(item)
    yield AudioCommitted(item.id, previous, wants_answer)
    yield ItemAdded(snapshot(item), previous)
    yield ItemDone(snapshot(item), previous)
