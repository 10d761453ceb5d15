"""What the simulator says of a device whose parts were measured one by one, beside what was measured of the whole."""

from collections.abc import Iterator, Sequence

from server.bench.simulation.measured import fitted
from server.bench.simulation.simulation import simulated
from server.bench.simulation.traffic import Traffic
from server.bench.tts_report import TtsReport
from tests.bench.markdown import table

_ALL_TALK = 0.95
_SECONDS = 60.0


def markdown(reports: Sequence[TtsReport]) -> str:
    """A line for each number of streams that was measured: measured, predicted."""
    columns = ("flow, parts", "streams", "first audio p95 ms", "ran dry", "rows a step", "hops a render")
    return "Measured, predicted:\n\n" + table(columns, (row for report in reports for row in _rows(report)))


def _rows(report: TtsReport) -> Iterator[tuple[object, ...]]:
    costs = fitted(report)
    for level in report.levels:
        figures = simulated(costs, Traffic(level.streams, _ALL_TALK), _SECONDS)
        yield (
            f"{report.flow}, {report.parts}",
            level.streams,
            f"{level.first_audio_p95_ms:.0f}, {figures.first_audio_p95_ms:.0f}",
            f"{level.underruns / max(level.chunks, 1):.1%}, {figures.ran_dry / max(figures.chunks, 1):.1%}",
            f"{level.rows_per_step:.1f}, {figures.rows_per_step:.1f}",
            f"{level.hops_per_render:.1f}, {figures.hops_per_render:.1f}",
        )
