"""Who may interrupt: what a voice is that is heard while the assistant's speech is being played.

Pure: evidence in, a verdict out. A false stop costs the caller the rest of an answer; a missed interruption costs them
their patience. So words decide where there are any, and length only where there are none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from server.conversation.backchannels import is_backchannel, is_command, may_become_backchannel, words_of
from server.conversation.echo import is_echo

Reading = Literal["own", "backchannel", "unclear", "echo", "none"]
"""What the words are so far; "own": the caller wants to say something, "none": there are no words."""

Verdict = Literal["interruption", "backchannel", "echo", "noise"]

# While the assistant speaks, a frame counts as voice that is so much surer than the session's threshold asks for.
_RAISED = 0.2
_SUREST = 0.9
# Less voice than this is a click or a cough's end, and not worth recognising; the shortest "no" has more.
MIN_VOICED_SECONDS = 0.09
# Voice whose words are not known in time (a busy recogniser) is taken for speech when it is longer than most coughs and
# backchannels are. Where words before it were heard, and were none of the caller's, it takes longer.
_UNHEARD_SECONDS = 0.6
_UNHEARD_SINCE_SECONDS = 1.6
# So long a voice is one, though the recogniser finds no words: a language that it does not know, a shout.
_WORDLESS_SECONDS = 2.0
# Somebody else in the room, or a television, is so much below the caller's own level (dB); where that is not known yet,
# below what callers on telephones have (-26 dB by the book, and the louder frames of speech some 7 dB more).
_FAR_DB = 12.0
_NOMINAL_LEVEL = -19.0
# Who answers a question that offers something picks it in so many words: "Saturday" of "Saturday or Sunday?".
_LONGEST_CHOICE = 2
# Who says so many words after a backchannel in one breath wants the floor. Fewer are the backchannel, misheard: "rate"
# for "right".
_MORE_THAN_A_NOD = 3
# A hum is less open than this, by `openness`, and recognisers hear words in it: "No.", "Come on.", "My." Nearly every
# word is more open.
_HUM_OPENNESS = 0.12


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What words are judged by.

    `played` is what the assistant says at about the time of the voice; `asked`: it has just asked something, and even
    "mhm" is an answer. `offers`: it asks something, and its words may be picked as the answer. `hummed`: the sound so
    far is that of closed lips, whatever words are heard in it. `before` are the words heard last, and `nodded` says
    that some before were a backchannel. `unclear`: one word heard so far would say little, because it may be an echo's
    first fragment.
    """

    played: Sequence[str] = ()
    asked: bool = False
    offers: bool = False
    hummed: bool = False
    before: Sequence[str] = ()
    nodded: bool = False
    unclear: bool = False
    language: str = ""


@dataclass(slots=True)
class Evidence:
    """What is known of a voice. Seconds count its frames of sure voice.

    Words were asked for when `asked` seconds had been heard, `asked_in_pause` or while it went on; `words` and their
    `reading` cover the first `heard` seconds, and where `whole` all of it, up to a pause or its end. `far`: it is much
    quieter than the caller was; `hummed`: when asked for, it sounded like "mm"; `nodded`: some words heard in it were a
    backchannel.
    """

    voiced: float = 0.0
    asked: float = 0.0
    asked_in_pause: bool = False
    heard: float = 0.0
    words: Sequence[str] = ()
    reading: Reading | None = None
    whole: bool = False
    far: bool = False
    hummed: bool = False
    nodded: bool = False

    @property
    def may_be_turn(self) -> bool:
        """Whether nothing speaks against that the caller says something."""
        return not self.far and self.reading not in ("echo", "none")


def is_sure(probability: float, threshold: float) -> bool:
    """Whether a frame of that voice probability counts as voice while the assistant speaks."""
    return probability >= max(threshold, min(threshold + _RAISED, _SUREST))


def is_far(level: float, usual: float | None) -> bool:
    """Whether a voice of `level` dB is not the caller's, who is `usual` dB loud; None: not known yet."""
    return level < (_NOMINAL_LEVEL if usual is None else usual) - _FAR_DB


def is_hummed(openness: float) -> bool:
    """Whether a voice so open is a hum, of which no words are to be believed at once."""
    return openness < _HUM_OPENNESS


def heard_words(text: str, whole: bool, most: int) -> list[str]:
    """The words of a voice. Unless that is `whole`, no more than `most` of them can have been said.

    Of a fragment, recognisers make the same word over and over: "Press, press, press,"
    """
    words = words_of(text)
    return words if whole else [word for word, _ in groupby(words)][:most]


def read(words: Sequence[str], whole: bool, around: Surroundings) -> Reading:
    """What the words of a voice are; unless `whole`, it goes on, and the last word may be a fragment."""
    if not words:
        return "none"
    guess = not whole and (around.hummed or not _is_same(words[0], *around.before[:1]))
    if is_command(words, around.language) and not guess:  # too few words for an echo
        return "own"
    if is_echo(words, around.played, whole):
        picked = whole and around.offers and len(words) <= _LONGEST_CHOICE
        return "own" if picked else "echo"
    if is_backchannel(words, around.language):
        return "own" if around.asked else "backchannel"
    if whole:
        return "own"
    guess = guess or len(words) < (_MORE_THAN_A_NOD if around.nodded else 1 + around.unclear)
    return "unclear" if guess or may_become_backchannel(words, around.language) else "own"


def _is_same(word: str, before: str = "") -> bool:
    """Whether what was heard as a word `before` has become this one: "Pre", "Press", "Pressing"."""
    return before != "" and (word.startswith(before) or before.startswith(word))


def judge(evidence: Evidence) -> Verdict | None:
    """What the voice is, as far as it has been heard; None: that is open."""
    if evidence.far:
        return "noise"
    if evidence.reading == "own":
        return "interruption"
    unheard = evidence.voiced - evidence.heard
    if unheard >= (_UNHEARD_SECONDS if evidence.reading is None else _UNHEARD_SINCE_SECONDS):
        return "interruption"
    if evidence.reading == "none" and evidence.voiced >= _WORDLESS_SECONDS:
        return "interruption"
    if not evidence.whole:
        return None
    match evidence.reading:
        case "echo":
            return "echo"
        case "backchannel":
            return "backchannel"
        case _:
            return "noise"
