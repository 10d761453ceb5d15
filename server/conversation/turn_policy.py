"""When is a turn over? How much silence is still to be waited for, given all that is known at the moment.

Pure. Evidence comes in pieces, each at its own time: how the last seconds sound (smart-turn), which words they hold,
what was asked, how this caller pauses. The answer is a duration and its reason, so that every end can be explained.

A turn may end as soon as its words are known, and no sooner: without them no model can be asked, so that waiting for
them costs nothing, and they are the best evidence there is.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from server.conversation.turn_words import Ending

Eagerness = Literal["low", "medium", "high"]
Reason = Literal["unjudged", "no_words", "finished", "unsure", "unfinished", "spelling"]


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of silence: `shortest` where the turn is surely over, `longest` where it surely is not."""

    shortest: float
    longest: float


# The longest are those of OpenAI Realtime's `semantic_vad`: 2, 4 and 8 s.
CURVES: dict[Eagerness, Curve] = {"high": Curve(0.2, 2.0), "medium": Curve(0.35, 4.0), "low": Curve(0.6, 8.0)}
# Without any evidence, the silence that most servers wait for; without words, a recogniser that is late or fails.
UNJUDGED_SECONDS = 0.6
_WORDS_MISSING_SECONDS = 1.0
# Where a turn is as likely over as that, the shortest silence is enough: no evidence makes it surer. (A voice detector
# hears 0.35 s of a hesitation of 0.4 s.)
_SURE = 0.72
# Digits and letters come in groups, with pauses of up to a second and a half between them.
_SPELLING_SECONDS = 1.6
# That there are few words is reason for no more silence than this: they may be a short request, and who has only begun
# thinks for up to two seconds.
_FEW_WORDS_SECONDS = 2.3
# Log odds of the turn being over: what smart-turn's are worth, what each dB is by which the last syllable is softer
# than is usual within a turn (up to the most), and what a sentence without its end takes away, in about the
# proportions that were fitted on real speech. A missing word takes away more there; it is less so that a caller's
# short request is not waited for too long. The constant is a choice, and sets how much delay a pause is worth
# (`voicefleet bench turns`).
_SOUND_WEIGHT = 0.5
_FALL_LOG_ODDS, _USUAL_FALL, _MOST_FALL = 0.35, 3.0, 10.0
_OPEN_LOG_ODDS = -2.6
_MISSING_WORD_LOG_ODDS = -1.2
_BIAS = -0.5
_FINISHED, _UNFINISHED = 0.6, 0.3
# A caller whose pauses within a turn have been long gets that much and a little more, where the end is in doubt.
_OWN_PAUSE_MARGIN = 1.1
_MOST_CERTAIN = 1e-4


@dataclass(slots=True)
class Evidence:
    """What is known about the pause that is going on. None: not yet, or not at all.

    `sounds_finished` is smart-turn's probability, 0 to 1; `ending` says how the words so far end, `words_missing` by
    how many they are fewer than most turns have; `own_pause` is how long this caller pauses in a turn, in seconds;
    `fall` by how many dB the last syllable is softer than the turn.
    """

    sounds_finished: float | None = None
    ending: Ending | None = None
    words_missing: int = 0
    own_pause: float = 0.0
    fall: float | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """Silence to wait for, in seconds since the last speech, before the turn is taken to be over; and why."""

    seconds: float
    reason: Reason


def patience(evidence: Evidence, eagerness: Eagerness) -> Patience:
    """How long to wait."""
    curve = CURVES[eagerness]
    scale = curve.longest / CURVES["medium"].longest
    if evidence.ending is None:
        return Patience(max(_WORDS_MISSING_SECONDS, curve.shortest), "unjudged")
    if evidence.ending == "none":  # one word that was not understood may be the first of more
        return Patience(max(curve.shortest, _WORDS_MISSING_SECONDS), "no_words")
    if evidence.sounds_finished is None and evidence.ending == "plain":
        return Patience(max(UNJUDGED_SECONDS, curve.shortest), "unjudged")
    if evidence.ending == "spelling":  # of digits, sound says little
        return Patience(_SPELLING_SECONDS * scale, "spelling")
    finished = probability_of_end(evidence)
    seconds = _silence(curve, finished)
    if evidence.words_missing and evidence.ending == "plain":
        otherwise = _silence(curve, probability_of_end(replace(evidence, words_missing=0)))
        seconds = min(seconds, max(_FEW_WORDS_SECONDS * scale, otherwise))
    if finished >= _FINISHED:
        return Patience(seconds, "finished")
    seconds = min(max(seconds, _OWN_PAUSE_MARGIN * evidence.own_pause), curve.longest)
    return Patience(seconds, "unsure" if finished > _UNFINISHED else "unfinished")


def _silence(curve: Curve, finished: float) -> float:
    """Seconds to wait where the turn is over with a probability of `finished`."""
    doubt = max(0.0, 1 - finished / _SURE)
    doubt *= doubt * (3 - 2 * doubt)  # "smoothstep": a little of it delays little, much of it much
    return curve.shortest * math.pow(curve.longest / curve.shortest, doubt)


def probability_of_end(evidence: Evidence) -> float:
    """How likely the turn is over: sound and words weighed by logistic regression (`tests.bench.fit_turn_policy`)."""
    sound = 0.5 if evidence.sounds_finished is None else evidence.sounds_finished
    sound = min(max(sound, _MOST_CERTAIN), 1 - _MOST_CERTAIN)
    log_odds = _SOUND_WEIGHT * math.log(sound / (1 - sound)) + _BIAS
    if evidence.fall is not None:
        log_odds += _FALL_LOG_ODDS * (min(evidence.fall, _MOST_FALL) - _USUAL_FALL)
    log_odds += _MISSING_WORD_LOG_ODDS * evidence.words_missing
    if evidence.ending == "open":
        log_odds += _OPEN_LOG_ODDS
    return 1 / (1 + math.exp(-log_odds))
