"""An answer that one model began and another finishes: what is passed on of the first, what is asked of the second, and
what is left out of it as a repetition.

Pure. The caller has heard, or will hear, all that was passed on; so nothing of it may come again, and the two must meet
between words.
"""

import re
from dataclasses import replace

from server.llm.interface import (
    AssistantText,
    ChatRequest,
    Finished,
    LlmEvent,
    Memo,
    SystemText,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from server.llm.output_filter import OutputFilter

_GO_ON = SystemText(
    "Your last answer was cut off, and the caller heard it just as far as it stands here. Say the rest of it: go on "
    "with the next word, in the same voice and language. Repeat nothing, and say nothing about the interruption."
)

_WORD = re.compile(r"\w+(?:['’\-]\w+)*")  # noqa: RUF001  # both apostrophes are written
# Of scripts that part words by blanks; it may be half a word. Chinese and its neighbours come in whole characters.
_OF_WORDS = r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\U0010ffff]"
_HALF_WORD = re.compile(rf"{_OF_WORDS}{{1,40}}\Z")
_NEEDS_BLANK = re.compile(rf"(?:{_OF_WORDS}|[.,;:!?)])\Z")
_MOST_WORDS = 200  # of what was said that may come again
_PICKS_UP = re.compile(r"(?:\s|…|\.{3})*")
_BETWEEN = re.compile(r"[\s.,;:!?…—–-]*")  # noqa: RUF001


class WholeWords:
    """Lets text through as far as its words are whole; the rest comes with the next delta, or at the end."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, delta: str) -> str:
        """What is whole now that `delta` has come."""
        text = self._held + delta
        half = _HALF_WORD.search(text)
        self._held = half[0] if half else ""
        return text[: len(text) - len(self._held)]

    def flush(self) -> str:
        """The rest: the answer, or its text, has ended."""
        text, self._held = self._held, ""
        return text


class WithoutRepetition:
    """Leaves out of a continuation the words by which it repeats the end of what was said.

    As long as what has come may be such a repetition, it is held back. A single word that comes twice is one if it has
    letters: digits do repeat ("5 5 5").
    """

    def __init__(self, said: str) -> None:
        self._said = [word.casefold() for word in _WORD.findall(said)][-_MOST_WORDS:]
        self._text = ""
        self._decided = not self._said
        self._leading = _PICKS_UP  # what is left out before the first word that is passed on
        self._begun = self._decided

    def push(self, delta: str) -> str:
        """What is no repetition, as far as that is known now that `delta`, of whole words, has come."""
        if self._decided:
            return self._pass(delta)
        self._text += delta
        return self._decide(final=False)

    def flush(self) -> str:
        """The rest: the continuation has ended."""
        return "" if self._decided else self._decide(final=True)

    def _decide(self, final: bool) -> str:
        words = list(_WORD.finditer(self._text))
        spoken = [word[0].casefold() for word in words]
        # Places in what was said from which on it may be repeated; the longest repetition counts.
        places = [at for at in range(len(self._said)) if _agree(self._said[at:], spoken)]
        if not final and any(len(self._said) - at > len(spoken) for at in places):
            return ""
        self._decided = True
        for at in places:
            length = len(self._said) - at
            if length <= len(spoken) and (length > 1 or spoken[0].isalpha()):
                self._leading = _BETWEEN
                return self._pass(self._text[words[length - 1].end() :])
        return self._pass(self._text)

    def _pass(self, text: str) -> str:
        if not self._begun:
            text = self._leading.sub("", text, count=1)
            self._begun = bool(text)
        return text


class Passage:
    """What is passed on of one model's answer, so that another could finish it, which goes on after `said`.

    Text leaves in whole words. Function calls leave when the answer is whole: no application is told of one that
    another model then makes again.
    """

    def __init__(self, said: str = "") -> None:
        self._said = said
        self._words = WholeWords()
        self._without_repetition = WithoutRepetition(said)
        self._calls: list[LlmEvent] = []
        self.text = ""
        """All text that was passed on."""

    def push(self, event: LlmEvent) -> list[LlmEvent]:
        """What leaves now that `event` has come."""
        match event:
            case TextDelta(text):
                return self._pass_on(self._without_repetition.push(self._words.push(text)))
            case ToolCallStarted() | ToolCallDelta():
                self._calls.append(event)
                return []
            case Finished():
                rest = self._without_repetition.push(self._words.flush()) + self._without_repetition.flush()
                return [*self._pass_on(rest), *self._calls, event]
        return [event]

    def _pass_on(self, text: str) -> list[LlmEvent]:
        if not text:
            return []
        if not self.text and _needs_blank(self._said, text):
            text = f" {text}"
        self.text += text
        return [TextDelta(text)]


def _agree(said: list[str], spoken: list[str]) -> bool:
    return all(one == other for one, other in zip(said, spoken, strict=False))


def said_of(written: str) -> str:
    """What is for the caller of the text that a model wrote before it broke off: all but its thoughts."""
    text = OutputFilter(markup=False)
    return text.push(written) + text.flush()


def _needs_blank(said: str, more: str) -> bool:
    """Whether `more`, which goes on where `said` ends, would run into its last word or mark."""
    return bool(_NEEDS_BLANK.search(said) and _WORD.match(more))


def rest_of(request: ChatRequest, said: str) -> ChatRequest:
    """The request for the rest of an answer to `request` of which `said` was said; the same if nothing was."""
    if not (said := said.strip()):
        return request
    messages = [*request.messages, AssistantText(said), _GO_ON]
    return replace(request, messages=messages, memo=Memo())
