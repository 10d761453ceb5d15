"""Costs that were measured somewhere: from a file with the costs themselves, a report, or a line of a worker's log.

A report and a log line say what steps and hops take on the whole. The parts of these costs are scaled to that; what
starts the work on the host is reckoned still.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from server.bench.simulation.costs import COPIED_ROWS, PROMPT_TOKENS, SWAPPED_ROWS, DeviceCosts, Form, reckoned
from server.bench.tts_report import TtsReport
from server.errors import VoicefleetError
from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE

# Of the hop that is profiled in a report: 2 s of sound, 4 s into the text.
_FRESH, _BEFORE = 2 * TOKEN_RATE, 4 * TOKEN_RATE
_LEAST = 1e-6  # of a step, where the line through what was measured says less than nothing


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a worker logs as `engine_calibrated`: ms of a step by rows, of a render by hops, of a join."""

    step_ms: Mapping[int, float]
    render_ms: Mapping[int, float]
    join_ms: float

    def __post_init__(self) -> None:
        """Raises `ValueError`."""
        for name in ("step_ms", "render_ms"):
            if not (sizes := getattr(self, name)) or min(*sizes, *sizes.values()) <= 0:
                raise ValueError(f"{name}: takes one size at least, and sizes and ms above 0")


class WrongCosts(VoicefleetError):
    """A file that does not say what work costs."""

    def __init__(self, path: Path, why: str) -> None:
        names = ", ".join(DeviceCosts.__dataclass_fields__)
        super().__init__(
            f"{path}: {why}; takes a report of `voicefleet bench tts --json`, a worker's log line `engine_calibrated`, "
            f"or a JSON object of seconds: {names}"
        )


def costs_from(path: Path, form: Form) -> DeviceCosts:
    """What a file says of the costs; `form` is the flow's where the file does not tell. Raises `WrongCosts`."""
    content = path.read_bytes()
    try:
        keys = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).keys()
        if "step_ms" in keys:
            return calibrated(msgspec.json.decode(content, type=Calibration), form)
        if "levels" in keys:
            return fitted(msgspec.json.decode(content, type=TtsReport))
        return msgspec.json.decode(content, type=DeviceCosts)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise WrongCosts(path, str(error)) from None


def fitted(report: TtsReport) -> DeviceCosts:
    """The costs of the device that the report is of. Raises `ValueError` where it has no steps or hops."""
    if not report.steps or not report.hops:
        raise ValueError("steps, hops: takes one of each at least")
    costs = reckoned("H200", report.flow, "eager" if report.parts == "eager" else "captured")
    step, step_row = _step_costs({step.rows: step.seconds for step in report.steps})
    hop = max(report.hops, key=lambda profile: profile.streams)
    frames = 2 * _FRESH
    modelled = costs.hop_seconds(_FRESH, PROMPT_TOKENS + _BEFORE + _FRESH, 0)
    flow = hop.flow_seconds / hop.streams / modelled
    return replace(
        costs,
        step=step,
        step_row=step_row,
        swap=SWAPPED_ROWS * step_row,
        join=step + COPIED_ROWS * step_row,  # both read all weights
        flow_token=costs.flow_token * flow,
        flow_pair=costs.flow_pair * flow,
        flow_read=costs.flow_read * flow,
        vocoder_frame=hop.vocoder_seconds / hop.streams / frames,
    )


def calibrated(calibration: Calibration, form: Form) -> DeviceCosts:
    """The costs of the device that this worker has. What a render waits for on the host is a part of what it took."""
    costs = reckoned("H200", form, "eager")
    hops = max(calibration.render_ms)
    hop = calibration.render_ms[hops] / 1e3 / hops
    model = costs.calibrated_hop
    step, step_row = _step_costs(calibration.step_ms)
    return replace(
        costs,
        step=step / 1e3,
        step_row=step_row / 1e3,
        swap=SWAPPED_ROWS * step_row / 1e3,
        join=calibration.join_ms / 1e3,
        join_host=0.0,
        flow_token=costs.flow_token * hop / model,
        flow_pair=costs.flow_pair * hop / model,
        flow_read=costs.flow_read * hop / model,
        vocoder_frame=costs.vocoder_frame * hop / model,
        render_host=calibration.render_ms[min(calibration.render_ms)] / 1e3,
        render_host_hop=0.0,
        wait=0.0,
    )


def _step_costs(took: Mapping[int, float]) -> tuple[float, float]:
    """The line through what steps of so many rows took: of any step, more for each row. One step alone is all fixed."""
    if len(took) == 1:
        return next(iter(took.values())), 0.0
    row, fixed = np.polyfit(list(took), list(took.values()), 1)
    return max(float(fixed), _LEAST), max(float(row), 0.0)
