"""Where words end, by the real recogniser's attention, in numbers whose gaps are known."""

import itertools
from pathlib import Path

from server.audio.formats import MODEL_RATE
from server.audio.resampling import Resampler
from server.bench.turns.cases import spelled
from server.bench.turns.recordings import read_recordings
from server.bench.turns.word_gaps import RATE
from server.models.store import ModelStore
from server.settings.loading import load_settings
from tests.bench.word_ends import WordEnds

_AUDIO = Path(__file__).parents[1] / "audio"
_SHORTEST_GAP = 0.3


def test_the_words_of_a_spelled_number_end_in_its_gaps() -> None:
    ends = WordEnds(ModelStore.from_settings(load_settings()).verified("tiny.en"))
    for case in itertools.islice(spelled(read_recordings(_AUDIO).digits), 2):
        pcm = Resampler(RATE, MODEL_RATE).push(case.samples).tobytes()
        digits = case.name.rsplit(" ", 2)[0]
        found = ends.find(pcm, digits)
        assert [end.word for end in found] == digits.split()[:-1]
        for end, pause in zip(found, case.pauses, strict=True):
            assert pause.start - _SHORTEST_GAP < end.at < pause.end + _SHORTEST_GAP
