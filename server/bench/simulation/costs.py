"""What each kind of work takes on a device and its host, in seconds: measured, from a file, or reckoned.

The reckoned figures are of no measurement: every operation of the models at full size was counted, and divided by what
such a device is taken to reach.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from server.bench.devices import DEVICES, Gpu
from server.workers.engines.chatterbox.costs import CLAUSE_TOKENS, HOPS_MEASURED, ROWS_MEASURED, Costs
from server.workers.engines.chatterbox.stream import HOPS, Stream

PROMPT_TOKENS = 250
"""Of the voice: what each windowed hop computes again."""

_LOOKAHEAD, _WINDOW = 3, 250  # tokens: of the flow
_WITHHELD, _REACH = 17, 12  # frames: of the vocoder
_FRAME_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class DeviceCosts:
    """Seconds. A render takes the device's or the host's share, whichever is longer."""

    step: float
    """Of any decoding step."""
    step_row: float
    """More for each row."""
    swap: float
    """Two rows exchanged, on the device."""
    swap_host: float
    join: float
    """Reading a text, on the device."""
    join_host: float
    step_host: float
    flow_token: float
    """Flow, for each token that is computed."""
    flow_pair: float
    """More for each of those and each token that it sees."""
    flow_read: float
    """More for each token that is seen."""
    recomputes: bool
    """Whether a hop computes all that it sees again: the windowed form."""
    vocoder_frame: float
    render_host: float
    """Launching a render of any size."""
    render_host_hop: float
    """More for each hop."""
    waits: bool = True
    """Whether the host waits for each render, as long as the parts are not captured."""
    wait: float = 1.2e-3
    """What is lost where it does."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for what would take no time, or less."""
        for name in self.__dataclass_fields__:
            least = 1e-9 if name in ("step", "vocoder_frame") else 0.0
            if not least <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: got {getattr(self, name)}; takes seconds from {least:g} on")

    def step_seconds(self, rows: int) -> float:
        """A step of so many rows, on the device."""
        return self.step + self.step_row * rows

    def hop_seconds(self, fresh: int, seen: int, frames: int) -> float:
        """A hop of `fresh` tokens, which see `seen` with themselves, and a vocoder window of so many frames."""
        computed = seen if self.recomputes else fresh
        flow = self.flow_token * computed + self.flow_pair * computed * seen + self.flow_read * seen
        return flow + self.vocoder_frame * frames

    def clause_hops(self, tokens: int, plan: Sequence[int] = HOPS) -> list[tuple[float, float]]:
        """The hops of a clause of so many tokens: device seconds, seconds of audio."""
        stream = Stream.new(0.0, tokens, plan=plan)
        for _ in range(tokens):
            stream.drew(0)
        progress = Progress()
        hops = []
        while not stream.rendered:
            hops.append(progress.hop(self, *stream.take_hop()))
        return hops

    def beside(self, share: float) -> "DeviceCosts":
        """On a device of which others have that `share` (0 to 1) of the time: the rest of it takes as much longer."""
        own = 1.0 - share
        return replace(
            self,
            step=self.step / own,
            step_row=self.step_row / own,
            swap=self.swap / own,
            join=self.join / own,
            flow_token=self.flow_token / own,
            flow_pair=self.flow_pair / own,
            flow_read=self.flow_read / own,
            vocoder_frame=self.vocoder_frame / own,
        )

    @property
    def calibrated_hop(self) -> float:
        """What the device takes for a hop of the clause that is spoken to be measured, on average."""
        hops = self.clause_hops(CLAUSE_TOKENS)
        return sum(seconds for seconds, _ in hops) / len(hops)

    def calibrated(self) -> Costs:
        """What the engine's own calibration would measure on such a device."""
        hop = self.calibrated_hop
        lost = self.wait if self.waits else 0.0
        return Costs.of(
            {rows: max(self.step_seconds(rows), self.step_host) for rows in ROWS_MEASURED},
            {n: max(hop * n, self.render_host + self.render_host_hop * n) + lost for n in HOPS_MEASURED},
            max(self.join, self.join_host),
        )


@dataclass(slots=True)
class Progress:
    """How far a stream's sound is: tokens given to the flow and done by it, frames given to the vocoder and done."""

    tokens: int = 0
    flow_done: int = 0
    frames: int = 0
    frames_done: int = 0

    def hop(self, costs: DeviceCosts, tokens: Sequence[int], last: bool) -> tuple[float, float]:
        """Make a hop: device seconds, and the seconds of audio that come of it."""
        self.tokens += len(tokens)
        ready = self.tokens - (0 if last else _LOOKAHEAD)
        fresh = ready - self.flow_done
        first = min(max(ready - _WINDOW, 0), self.flow_done) if costs.recomputes else 0
        self.flow_done = ready
        self.frames += 2 * fresh
        window = self.frames - max(self.frames_done - _REACH, 0)
        certain = max(self.frames_done, self.frames - (0 if last else _WITHHELD))
        audio = (certain - self.frames_done) * _FRAME_SECONDS
        self.frames_done = certain
        return costs.hop_seconds(fresh, PROMPT_TOKENS + ready - first, window), audio


Form = Literal["windowed", "chunked"]
Parts = Literal["eager", "captured"]
GPUS: Sequence[Gpu] = tuple(DEVICES)
FORMS: Sequence[Form] = ("windowed", "chunked")
PARTS: Sequence[Parts] = ("eager", "captured")


_KERNEL_SECONDS = 2.1e-6  # on the device, however little it does
STEP_KERNELS: Mapping[Parts, int] = {"eager": 353, "captured": 289}  # the draw's are few where it is compiled
JOIN_KERNELS: Mapping[Parts, int] = {"eager": 407, "captured": 343}
SWAP_KERNELS = 30
_T3_WEIGHTS_BYTES = 0.618e9  # as long as they are read, a clause's tokens have been multiplied by them
_ROW_BYTES = 98304 * 768  # keys and values of a row, as far as a service's rows reach
SWAPPED_ROWS = 6 * 560 / 768
"""Rows a step reads in the time that a swap takes: three copies of two rows, as far as they reach, read and written."""
COPIED_ROWS = 2 * 376 / 768
"""The same of the copy of a voice that a join begins with."""
_FLOW_FLOP: Mapping[Form, tuple[float, float]] = {"windowed": (0.641e9, 1.01e6), "chunked": (0.7e9, 1.8e6)}
_FLOW_BYTES, _READ_BYTES = 5.7e6, 2.3e6  # of a token that is computed; of one that is only seen
_FRAME_FLOP, _FRAME_BYTES = 0.61e9, 22.5e6


def reckoned(gpu: Gpu, form: Form, parts: Parts) -> DeviceCosts:
    """Of one of these devices, with the flow's form, eager as today or with all parts captured and compiled."""
    device = DEVICES[gpu]
    flow_launches = 2250 if form == "windowed" else 2800
    fused_flow, fused_vocoder = (0.5, 0.3) if parts == "captured" else (1.0, 1.0)

    token_flop, pair_flop = _FLOW_FLOP[form]
    chunked = form == "chunked"
    weights, row = _T3_WEIGHTS_BYTES / device.bandwidth, _ROW_BYTES / device.bandwidth
    costs = DeviceCosts(
        step=weights + STEP_KERNELS[parts] * _KERNEL_SECONDS,
        step_row=row,
        swap=SWAPPED_ROWS * row,
        swap_host=SWAP_KERNELS * device.launch,
        join=weights + JOIN_KERNELS[parts] * _KERNEL_SECONDS + COPIED_ROWS * row,
        join_host=JOIN_KERNELS[parts] * device.launch,
        step_host=0.15e-3,
        flow_token=token_flop / device.flops + fused_flow * _FLOW_BYTES / device.bandwidth,
        flow_pair=pair_flop / device.flops,
        flow_read=chunked * fused_flow * _READ_BYTES / device.bandwidth,
        recomputes=not chunked,
        vocoder_frame=_FRAME_FLOP / device.float32_flops + fused_vocoder * _FRAME_BYTES / device.bandwidth,
        render_host=(flow_launches + 980 + 70) * device.launch,
        render_host_hop=40 * device.launch,
    )
    if parts == "captured":
        return replace(costs, join_host=0.1e-3, render_host=1.0e-3, render_host_hop=0.05e-3, waits=False)
    return costs
