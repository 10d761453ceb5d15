"""`voicefleet bench simulate`: from costs in a file to tables, figures and a picture; what it says of other files."""

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from server.bench.simulation.costs import reckoned
from server.bench.simulation.measured import WrongCosts, costs_from
from server.main import cli
from tests.unit.test_predicted import report

A10G = reckoned("A10G", "windowed", "eager")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["bench", "simulate", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_costs_from_a_file_are_simulated_and_the_figures_saved(tmp_path: Path) -> None:
    costs, saved = tmp_path / "slow-card.json", tmp_path / "figures.json"
    costs.write_bytes(msgspec.json.encode(A10G.beside(0.8)))

    code, output = run("--costs", str(costs), "--calls", "4", "--seconds", "10", "--json", str(saved))

    assert code == 0, output
    assert "reckoned, not measured" in output
    assert "slow-card, as in the file, now" in output
    before, now = json.loads(saved.read_text())
    assert now["figures"]["calls"] >= before["figures"]["calls"]
    assert now["figures"]["first_audio_p50_ms"] > 0.0
    assert 0.0 < now["figures"]["streams"] < now["ideal"]
    assert now["admission"]["calls"] > 0.0


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    costs, picture = tmp_path / "slow-card.json", tmp_path / "calls.png"
    costs.write_bytes(msgspec.json.encode(A10G.beside(0.8)))

    code, output = run("--costs", str(costs), "--calls", "4", "--seconds", "10", "--plot", str(picture))

    assert code == 0, output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_report_of_the_voice_benchmark_says_what_work_costs(tmp_path: Path) -> None:
    file = tmp_path / "tts.json"
    file.write_bytes(msgspec.json.encode(report()))

    assert costs_from(file, "windowed").step_seconds(64) == pytest.approx(A10G.step_seconds(64))


def test_the_log_line_of_a_calibration_says_what_work_costs(tmp_path: Path) -> None:
    of_calibration = A10G.calibrated()
    line = {
        "event": "engine_calibrated",
        "streams": 25,
        "step_ms": {rows: 1e3 * of_calibration.step(rows) for rows in (1, 8, 32)},
        "render_ms": {hops: 1e3 * of_calibration.render(hops) for hops in (1, 4, 16)},
        "join_ms": 1e3 * of_calibration.join,
    }
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(line))

    again = costs_from(file, "windowed").calibrated()

    for rows in (1, 32, 128):
        assert again.step(rows) == pytest.approx(of_calibration.step(rows))
    for hops in (1, 16):
        assert again.render(hops) == pytest.approx(of_calibration.render(hops), rel=0.05)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"step": "fast"}', "step"),
        (b"step: 3 ms", "malformed"),
        (b"\xff\xfe", "costs.json"),
        (b"[1, 2]", "object"),
        (b'{"step_ms": {"1": 2.0}, "render_ms": {}, "join_ms": 1.0}', "render_ms"),
        (b'{"step_ms": {"1": -2.0}, "render_ms": {"1": 3.0}, "join_ms": 1.0}', "step_ms"),
        (msgspec.json.encode(msgspec.to_builtins(A10G) | {"step": 0.0}), "step: got 0.0"),
        (msgspec.json.encode(msgspec.to_builtins(report()) | {"hops": []}), "hops"),
    ],
)
def test_a_file_that_names_no_costs_is_refused_with_what_is_wrong_and_what_is_taken(
    tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "costs.json"
    file.write_bytes(content)

    with pytest.raises(WrongCosts) as refused:
        costs_from(file, "windowed")

    assert why in str(refused.value)
    assert "engine_calibrated" in str(refused.value)
    assert "step_row" in str(refused.value)


def test_a_file_that_names_no_costs_ends_the_command(tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    costs.write_text('{"step": "fast"}')

    code, output = run("--costs", str(costs))

    assert code == 1
    assert "costs.json" in output
