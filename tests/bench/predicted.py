"""What the simulator says of a device whose parts were measured one by one, beside what was measured of the whole.

The costs of `server.bench.simulation`, scaled to the steps and hops of a `TtsReport`; what starts the work on the host
is reckoned still.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from server.bench.chatterbox import TtsReport
from server.bench.simulation.costs import PROMPT_TOKENS, DeviceCosts, reckoned
from server.bench.simulation.simulation import simulated
from server.bench.simulation.traffic import Traffic
from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE
from tests.bench.markdown import table

_ALL_TALK = 0.95
_SECONDS = 60.0
# Of the hop that is profiled: 2 s of sound, 4 s into the text.
_FRESH, _BEFORE = 2 * TOKEN_RATE, 4 * TOKEN_RATE


def fitted(report: TtsReport) -> DeviceCosts:
    """The costs of the device that the report is of."""
    costs = reckoned("H200", report.flow, report.parts)
    rows, seconds = [step.rows for step in report.steps], [step.seconds for step in report.steps]
    step_row, step = np.polyfit(rows, seconds, 1) if len(rows) > 1 else (0.0, seconds[0])
    hop = max(report.hops, key=lambda profile: profile.streams)
    frames = 2 * _FRESH
    modelled = replace(costs, vocoder_frame=0.0).hop_seconds(_FRESH, PROMPT_TOKENS + _BEFORE + _FRESH, frames)
    flow = hop.flow_seconds / hop.streams / modelled
    return replace(
        costs,
        step=max(float(step), 0.0),
        step_row=max(float(step_row), 0.0),
        flow_token=costs.flow_token * flow,
        flow_pair=costs.flow_pair * flow,
        flow_read=costs.flow_read * flow,
        vocoder_frame=hop.vocoder_seconds / hop.streams / frames,
    )


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
