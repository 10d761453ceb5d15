"""`voicefleet bench simulate`: from costs in a file to figures, and what it says of a file that holds none."""

import json
from pathlib import Path

import msgspec
from typer.testing import CliRunner

from server.bench.simulation.costs import reckoned
from server.main import cli


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["bench", "simulate", *arguments])
    return result.exit_code, result.output


def test_costs_from_a_file_are_simulated_and_the_figures_saved(tmp_path: Path) -> None:
    costs, saved = tmp_path / "costs.json", tmp_path / "figures.json"
    costs.write_bytes(msgspec.json.encode(reckoned("A10G", "windowed", "eager")))

    code, output = run("--costs", str(costs), "--calls", "4", "--seconds", "10", "--json", str(saved))

    assert code == 0, output
    assert "reckoned, not measured" in output
    figures = json.loads(saved.read_text())
    assert figures["calls"] == 4
    assert figures["ran_dry"] == 0
    assert figures["first_audio_p50_ms"] > 0.0


def test_a_file_that_names_no_costs_is_refused_by_name(tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    costs.write_text('{"step": "fast"}')

    code, output = run("--costs", str(costs))

    assert code == 1
    assert "costs.json" in output
    assert "step_row" in output
