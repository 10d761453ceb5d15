"""What verdicts come to: figures by kind, the node's point, and the curve of plain silence over the same utterances."""

from array import array
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from server.bench.node_usage import NodeUsage
from server.bench.turns.cases import Case, Kind
from server.bench.turns.plain_silence import SILENCES, silence_points
from server.bench.turns.plot import FiguresUnreadable, PlotUnavailable, Run, draw, earlier_runs, require_matplotlib
from server.bench.turns.report import Played, Point, SilencePoint, point, report
from server.bench.turns.verdicts import Outcome, SoundVerdict, TurnVerdict
from server.bench.turns.word_gaps import Pause
from server.cli.bench_turns_tables import show_turns_reports
from server.vad_processor import FRAME_SAMPLES, SAMPLE_RATE, VoiceActivity
from tests.support.sounds import said


def turn(
    kind: Kind = Kind.HESITATION, pauses: int = 1, cut: int = 0, noticed: float | None = 0.6, answered: float | None = 1
) -> TurnVerdict:
    return TurnVerdict(kind, "a", pauses, cut, cut > 0, cut > 0, None if cut else noticed, None if cut else answered, 0)


def sound(kind: Kind, outcome: Outcome, reaction: float | None = None) -> SoundVerdict:
    return SoundVerdict(kind, "a", outcome, reaction)


def played(turns: Sequence[TurnVerdict] = (), sounds: Sequence[SoundVerdict] = (), lag: float = 0.001) -> Played:
    return Played(list(turns), list(sounds), lag=array("d", [lag] * 100))


def test_turns_are_counted_by_kind_and_only_whole_ones_have_delays() -> None:
    turns = [turn(), turn(cut=1), turn(answered=None), turn(Kind.COMPLETE, pauses=0, noticed=0.5, answered=0.9)]
    complete, hesitations = report("auto", 1, played(turns), []).turns
    assert (hesitations.turns, hesitations.split, hesitations.pauses, hesitations.pauses_cut) == (3, 1, 3, 1)
    assert (hesitations.talked_over, hesitations.unanswered) == (1, 1)
    assert hesitations.noticed is not None
    assert hesitations.noticed.count == 2
    assert complete.answered is not None
    assert (complete.answered.p50, complete.answered.count) == (900, 1)


@pytest.mark.parametrize(
    ("outcome", "as_noise", "as_interruption"),
    [(Outcome.IGNORED, 0, 1), (Outcome.STOPPED, 1, 0), (Outcome.ANSWERED, 1, 1), (Outcome.TOO_SHORT, 0, 0)],
)
def test_noise_that_is_heard_is_wrong_and_so_is_an_interruption_that_is_not(
    outcome: Outcome, as_noise: int, as_interruption: int
) -> None:
    first, later = (Kind.NOISE, Kind.INTERRUPTION), (Kind.LATER_NOISE, Kind.LATER_INTERRUPTION)
    sounds = [sound(kind, outcome) for kind in (*first, *later)]
    wrong = [figures.wrong for figures in report("auto", 1, played(sounds=sounds), []).sounds]
    assert wrong == [as_noise, as_interruption] * 2


def test_the_time_to_a_stop_is_that_of_sounds_that_stopped_the_answer() -> None:
    sounds = [sound(Kind.INTERRUPTION, Outcome.STOPPED, 0.2), sound(Kind.INTERRUPTION, Outcome.IGNORED)]
    (figures,) = report("auto", 1, played(sounds=sounds), []).sounds
    assert figures.reaction is not None
    assert (figures.reaction.count, figures.reaction.p50) == (1, 200)


def test_the_point_is_pauses_cut_over_all_pauses_at_the_mean_delay_of_whole_turns() -> None:
    turns = [turn(pauses=3, cut=1), turn(noticed=0.4), turn(Kind.COMPLETE, pauses=0, noticed=0.8)]
    assert point(turns) == Point(delay_ms=600.0, cut_offs=25.0)


def test_without_a_pause_or_without_a_noticed_end_there_is_no_point() -> None:
    assert point([turn(pauses=0)]) is None
    assert point([turn(cut=1)]) is None


def test_a_far_voice_after_the_turn_is_no_point_of_the_curve() -> None:
    figures = report("auto", 1, played([turn(), turn(Kind.FAR_VOICE, noticed=3.0)]), [])
    assert figures.point == point([turn()])
    assert [one.kind for one in figures.turns] == [Kind.HESITATION, Kind.FAR_VOICE]


@pytest.mark.parametrize(("lag", "trusted"), [(0.001, True), (0.02, False)])
def test_callers_that_are_late_themselves_are_not_to_be_trusted(lag: float, trusted: bool) -> None:
    assert report("auto", 1, played([turn()], lag=lag), []).trusted is trusted


# --- plain silence


def activity(*spans: tuple[float, float], seconds: float) -> list[VoiceActivity]:
    """Frames of a voice detector that is sure of speech in `spans` and of none elsewhere."""
    frame = FRAME_SAMPLES / SAMPLE_RATE
    starts = np.arange(0.0, seconds, frame).tolist()
    return [VoiceActivity(at, at + frame, float(any(a <= at < b for a, b in spans))) for at in starts]


def test_plain_silence_cuts_every_pause_that_is_longer_and_waits_as_long_at_the_end() -> None:
    case = Case(Kind.HESITATION, "a", said(1.0, 0.7, 1.0), (Pause(1.0, 1.7),))
    points = silence_points([case] * 2, [activity((0.0, 1.0), (1.7, 2.7), seconds=5.0)] * 2)
    assert {silence.silence_ms: silence.point.cut_offs for silence in points} == {
        seconds * 1000: 0.0 for seconds in SILENCES if seconds > 0.7
    }, "where every turn was cut there is no delay and so no point"
    for silence in points:
        assert silence.point.delay_ms == pytest.approx(silence.silence_ms, abs=70)


def test_plain_silence_is_judged_over_all_utterances_together() -> None:
    hesitation = Case(Kind.HESITATION, "a", said(1.0, 0.7, 1.0), (Pause(1.0, 1.7),))
    whole = Case(Kind.COMPLETE, "b", said(1.0))
    activities = [activity((0.0, 1.0), (1.7, 2.7), seconds=5.0), activity((0.0, 1.0), seconds=3.0)]
    by_silence = {silence.silence_ms: silence.point for silence in silence_points([hesitation, whole], activities)}
    assert by_silence[500].cut_offs == 100.0
    assert by_silence[1000].cut_offs == 0.0


# --- for a person


CURVE = [SilencePoint(300.0, Point(400.0, 60.0)), SilencePoint(1500.0, Point(1600.0, 0.0))]


def shown(*, turns: Sequence[TurnVerdict] = (), sounds: Sequence[SoundVerdict] = (), lag: float = 0.001) -> str:
    text = StringIO()
    console = Console(file=text, width=160)
    show_turns_reports(console, [report("semantic_vad auto", 1, played(turns, sounds, lag), CURVE)])
    return text.getvalue()


def test_the_tables_name_every_kind_and_what_was_not_measured() -> None:
    text = shown(turns=[turn()], sounds=[sound(Kind.NOISE, Outcome.IGNORED)])
    assert "hesitations" in text
    assert "silence of 1.5 s" in text
    assert "not measured: complete, spelled numbers, long speech, mhm, okay, right, interruptions" in text


def test_an_answer_that_was_too_short_is_explained() -> None:
    assert "take a model that answers at length" in shown(sounds=[sound(Kind.NOISE, Outcome.TOO_SHORT)])
    assert "take a model" not in shown(sounds=[sound(Kind.NOISE, Outcome.IGNORED)])


def test_figures_of_callers_that_were_late_come_with_a_warning() -> None:
    assert "too busy to" in shown(turns=[turn()], lag=0.02)
    assert "too busy to" not in shown(turns=[turn()])


def test_the_picture_is_drawn_with_and_without_a_point(tmp_path: Path) -> None:
    for name, turns in (("with.png", [turn(), turn(cut=1)]), ("without.png", [])):
        draw([report("semantic_vad auto", 4, played(turns), CURVE)], tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_runs_with_the_same_cases_are_one_table_of_points_and_one_picture(tmp_path: Path) -> None:
    quick = report("semantic_vad high", 1, played([turn(noticed=0.3), turn(cut=1)]), CURVE)
    slow = report("semantic_vad low", 1, played([turn(noticed=0.9)]), CURVE)
    text = StringIO()
    show_turns_reports(Console(file=text, width=160), [quick, slow])
    curve = text.getvalue().partition("false cut-offs against delay")[2]
    assert [curve.count(row) for row in ("semantic_vad high", "semantic_vad low", "silence of 1.5 s")] == [1, 1, 1]
    for name, runs in (("one.png", [quick]), ("both.png", [quick, slow])):
        draw(runs, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "both.png").read_bytes()


def test_what_the_node_spent_is_shown_where_it_is_known() -> None:
    cpu = {"gateway": 0.03, "vad": 0.01, "smart_turn": 0.005, "stt": 0.02, "tts": 0.01}
    spent = NodeUsage(cpu, 300.0, 400.0, None, None, None)
    texts = []
    for node in (None, spent):
        texts.append(StringIO())
        show_turns_reports(Console(file=texts[-1], width=160), [report("auto", 4, played([turn()]), CURVE, node)])
    assert "CPU" not in texts[0].getvalue()
    assert "CPU s per call s: 0.0600: gateway 0.0300 (VAD 0.0100, smart-turn 0.0050), rec" in texts[1].getvalue()


def test_an_earlier_run_is_read_from_its_figures_and_drawn_beside(tmp_path: Path) -> None:
    figures, alone, both = tmp_path / "figures.json", tmp_path / "alone.png", tmp_path / "both.png"
    earlier = report("semantic_vad low", 4, played([turn()]), CURVE)
    figures.write_bytes(msgspec.json.encode([earlier]))
    (run,) = earlier_runs(figures)
    assert run == Run("semantic_vad low", 4, Point(600.0, 0.0))
    now = report("semantic_vad high", 4, played([turn(), turn(cut=1)]), CURVE)
    draw([now], alone)
    draw([now], both, [run])
    assert both.read_bytes() != alone.read_bytes()


@pytest.mark.parametrize("content", ["no figures", "{}", "[{}]"])
def test_what_holds_no_figures_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "figures.json").write_text(content, "utf-8")
    with pytest.raises(FiguresUnreadable, match=r"figures.json: holds no figures; takes a file that"):
        earlier_runs(tmp_path / "figures.json")


def test_without_matplotlib_there_is_a_message_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.bench.turns.plot.find_spec", lambda _: None)
    with pytest.raises(PlotUnavailable, match="pip install matplotlib"):
        require_matplotlib()
