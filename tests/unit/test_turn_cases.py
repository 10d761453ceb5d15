"""What the callers of `voicefleet bench turns` do: how much of each kind, where it pauses, where it ends."""

from itertools import islice

import numpy as np
import pytest

from server.bench.turns.cases import (
    HESITATION_SECONDS,
    LATER,
    SPELLING_SECONDS,
    Kind,
    all_cases,
    complete,
    far_voices,
    hesitations,
    interruptions,
    introduction,
    long_speech,
    noises,
    spelled,
)
from server.bench.turns.noises import far, synthetic_noises
from server.bench.turns.recordings import Recording, Recordings, read_recordings
from server.bench.turns.word_gaps import RATE
from server.client.playout import is_audible
from tests.support.clips import BUNDLED
from tests.support.sounds import quiet, said, word

TWO_GAPS = Recording("two gaps", said(0.6, 0.1, 0.4, 0.08, 0.8))
ONE_GAP = Recording("one gap", said(0.6, 0.1, 0.8))
NO_GAP = Recording("no gap", word(1.0))
SPOKEN = {
    Kind.BACKCHANNEL: [Recording("mhm", word(0.3))] * 4,
    Kind.INTERRUPTION: [Recording("stop", word(0.4)), Recording("wait", word(0.5))],
}


def test_a_complete_utterance_ends_with_its_last_audible_sample() -> None:
    (case,) = islice(complete([Recording("a", np.concatenate((quiet(0.2), word(1.0), quiet(0.5))))]), 1)
    assert (case.first_audible, case.end) == pytest.approx((0.2, 1.2), abs=0.01)


def test_complete_utterances_come_again_when_there_are_few() -> None:
    assert [case.name for case in islice(complete([ONE_GAP, NO_GAP]), 3)] == ["one gap", "no gap", "one gap"]


def test_a_hesitation_knows_its_pause_and_its_true_end() -> None:
    case = next(hesitations([ONE_GAP]))
    (pause,) = case.pauses
    assert pause == pytest.approx((0.6, 0.7 + HESITATION_SECONDS[0]), abs=0.03)
    assert case.end == pytest.approx(1.5 + HESITATION_SECONDS[0], abs=0.03)


def test_each_gap_is_opened_once_and_an_utterance_meets_different_pauses() -> None:
    cases = list(hesitations([TWO_GAPS, ONE_GAP, NO_GAP]))
    assert [case.name for case in cases] == ["two gaps +0.4 s", "one gap +0.8 s", "two gaps +2 s"]


def test_a_spelled_number_has_six_digits_and_the_same_gap_between_all_of_them() -> None:
    digits = {"ann": {"four": Recording("4", word(0.3)), "seven": Recording("7", word(0.4))}}
    cases = list(islice(spelled(digits), 5))
    for case, seconds in zip(cases, (*SPELLING_SECONDS, SPELLING_SECONDS[0]), strict=True):
        assert len(case.name.split()) == 6 + len(["gap", "s"])
        assert [end - start for start, end in case.pauses] == pytest.approx([seconds] * 5)


def test_of_a_single_digit_no_number_is_made() -> None:
    assert list(spelled({"ann": {"four": Recording("4", word(0.3))}})) == []


def test_long_speech_is_only_what_is_long() -> None:
    speech = Recording("speech", said(3.0, 0.5, 4.0))
    (case,) = long_speech([ONE_GAP, speech])
    assert case.name == "speech"
    assert len(case.pauses) == 1


def test_recorded_noise_comes_among_the_made_and_no_noise_is_long() -> None:
    street = Recording("street", np.concatenate((quiet(5.0), word(10.0))))
    cases = list(noises(Recordings(utterances=[ONE_GAP], noises=[street])))
    assert [case.name for case in cases[:3]] == ["far talker", "door", "street"]
    assert max(len(case.samples) for case in cases) == 3 * RATE
    assert cases[2].first_audible == 0.0, "of a recording, from where it can be heard"


@pytest.mark.parametrize(("name", "samples"), synthetic_noises().items())
def test_a_made_noise_can_be_heard_and_is_not_clipped(name: str, samples: np.ndarray) -> None:
    assert is_audible(samples)
    assert np.mean(np.abs(samples.astype(int)) > 32_000) < 0.001


def test_a_far_talker_is_24_db_down() -> None:
    assert 20 * np.log10(np.std(word(1.0)) / np.std(far([word(1.0)]))) == pytest.approx(24.0, abs=0.1)


def test_far_talkers_are_heard_together_until_the_first_is_done() -> None:
    half = word(1.0) // 2
    assert np.array_equal(far([half, half]), far([2 * half]))
    assert len(far([word(1.0), word(0.4)])) == 0.4 * RATE


def test_of_a_single_utterance_there_is_no_crowd() -> None:
    one, more = Recordings(utterances=[ONE_GAP]), Recordings(utterances=[ONE_GAP, NO_GAP])
    assert [case.name for case in noises(one)][:2] == ["far talker", "door"]
    assert [case.name for case in noises(more)][:2] == ["far talker", "far talkers"]


def test_a_far_voice_follows_the_caller_whose_turn_ends_before_it() -> None:
    caller = Recording("caller", np.concatenate((word(1.0), quiet(0.5))))
    cases = list(far_voices([caller, Recording("other", np.concatenate((quiet(0.3), word(5.0))))]))
    assert [case.name for case in cases] == ["caller, other far away", "other, caller far away"]
    case = cases[0]
    assert (case.end, case.seconds) == pytest.approx((1.0, 1.0 + 0.1 + 3.0), abs=0.02)
    own, others = case.samples[: round(1.0 * RATE)], case.samples[-RATE:]
    assert 20 * np.log10(np.std(own) / np.std(others)) == pytest.approx(24.0, abs=1.0)


def test_a_caller_introduces_themselves_with_two_utterances_that_are_not_long() -> None:
    speech = Recording("speech", said(3.0, 0.5, 4.0))
    assert [case.name for case in introduction(Recordings(utterances=[speech, ONE_GAP, NO_GAP]))] == [
        "one gap",
        "no gap",
    ]


def test_where_no_caller_can_introduce_themselves_nothing_comes_later() -> None:
    recordings = Recordings(utterances=[Recording("speech", said(3.0, 0.5, 4.0))])
    assert not {case.kind for case in all_cases(recordings, SPOKEN, 16)} & set(LATER)


def test_what_comes_later_are_the_sounds_that_came_before() -> None:
    cases = all_cases(Recordings(utterances=[NO_GAP]), SPOKEN, 16)
    noise, later = ([case.name for case in cases if case.kind is kind] for kind in (Kind.NOISE, Kind.LATER_NOISE))
    assert later == noise[: len(later)]


def test_interruptions_are_short_words_and_the_beginning_of_talk_in_turn() -> None:
    names = [case.name for case in interruptions([TWO_GAPS, NO_GAP], SPOKEN[Kind.INTERRUPTION])]
    assert names == ["stop", "no gap", "wait", "two gaps"]


def test_the_size_sets_how_many_there_are_of_each_kind() -> None:
    cases = all_cases(read_recordings(BUNDLED), SPOKEN, 8)
    kinds = [case.kind for case in cases]
    assert {kind: kinds.count(kind) for kind in Kind} == {
        Kind.COMPLETE: 6,
        Kind.HESITATION: 8,
        Kind.SPELLED: 2,
        Kind.LONG: 1,
        Kind.NOISE: 6,
        Kind.BACKCHANNEL: 4,
        Kind.INTERRUPTION: 4,
        Kind.LATER_NOISE: 4,
        Kind.LATER_BACKCHANNEL: 2,
        Kind.LATER_INTERRUPTION: 2,
        Kind.FAR_VOICE: 2,
    }
    assert kinds == sorted(kinds, key=list(Kind).index), "kind by kind"


def test_the_same_recordings_give_the_same_cases() -> None:
    recordings = Recordings(utterances=[TWO_GAPS], digits={"ann": {"one": NO_GAP, "two": ONE_GAP}})
    one, other = (all_cases(recordings, SPOKEN, 16) for _ in range(2))
    assert [case.name for case in one] == [case.name for case in other]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(one, other, strict=True))


def test_a_kind_that_the_recordings_do_not_allow_is_left_out() -> None:
    kinds = {case.kind for case in all_cases(Recordings(utterances=[NO_GAP]), SPOKEN, 16)}
    assert kinds == {Kind.COMPLETE, Kind.NOISE, Kind.BACKCHANNEL, Kind.INTERRUPTION, *LATER}


def test_backchannels_of_the_users_own_take_the_place_of_spoken_ones() -> None:
    own = Recordings(utterances=[NO_GAP], backchannels=[Recording("my mhm", word(0.2))])
    assert [case.name for case in all_cases(own, SPOKEN, 16) if case.kind is Kind.BACKCHANNEL] == ["my mhm"]
