"""One load on one device, with one policy, for so many virtual seconds."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from server.bench.percentiles import percentile_ms
from server.bench.simulation.costs import DeviceCosts
from server.bench.simulation.device import ROWS, SimulatedDevice
from server.bench.simulation.traffic import Calls, Traffic
from server.workers.engines.chatterbox.scheduler import Policy, next_work
from server.workers.engines.chatterbox.trace import Trace

_CHOICES_KEPT = 100_000
_LEAST_REST_SECONDS = 1e-4
LATE_AT_MOST = 0.001
"""Share of the pieces of audio that may come late under a load that holds."""
FIRST_AUDIO_MS = 250.0
"""Within which 95 % of first audio has to come."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of it."""

    calls: int
    streams: float
    """That played at once, on average: agents that talk."""
    first_audio_p50_ms: float
    first_audio_p95_ms: float
    ran_dry: int
    """Times that a caller's playout ran dry inside an answer, for clauses that came late too."""
    late_clauses: int
    chunks: int
    admitted: int
    """Agents that may talk at once, by the engine's own calibration."""
    lost_share: float
    """Of the audio that was made, what callers threw away by interrupting."""
    busy: float
    """Share of its time that the device worked."""
    rows_per_step: float
    hops_per_render: float
    device_ms_per_audio_second: float
    reasons: Mapping[str, int]
    """How often the policy chose what, and why."""

    @property
    def holds(self) -> bool:
        """Whether no more than one piece of audio in 1,000 came late, and first audio soon."""
        return self.late_share <= LATE_AT_MOST and self.first_audio_p95_ms <= FIRST_AUDIO_MS

    @property
    def work(self) -> float:
        """Device seconds for a second of audio that was heard."""
        return self.busy / max(self.streams, 1e-9)

    @property
    def late_share(self) -> float:
        """Of the pieces of audio, those that came late."""
        return self.ran_dry / max(1, self.chunks)


def simulated(
    costs: DeviceCosts, traffic: Traffic, seconds: float, policy: Policy = next_work, rows: int = ROWS
) -> Figures:
    """Run it."""
    device = SimulatedDevice(costs, rows, policy)
    device.loop.trace = Trace(_CHOICES_KEPT)
    admitted = device.capacity.limit
    calls = Calls(traffic, device)
    calls.begin_all()
    pass_time(device, calls, seconds)
    heard, totals = calls.heard, device.loop.totals
    reasons: Counter[str] = Counter()
    for choice in device.loop.trace.choices:
        reasons[f"{choice.work}: {choice.reason}"] += choice.times
    return Figures(
        calls=traffic.calls,
        streams=heard.played / seconds,
        first_audio_p50_ms=percentile_ms(heard.first_audio, 50),
        first_audio_p95_ms=percentile_ms(heard.first_audio, 95),
        ran_dry=heard.ran_dry,
        late_clauses=heard.late_clauses,
        chunks=heard.chunks,
        admitted=admitted,
        lost_share=heard.lost / max(heard.lost + heard.played, 1e-9),
        busy=device.busy / seconds,
        rows_per_step=(totals.tokens - totals.joins) / max(1, totals.steps),
        hops_per_render=totals.hops / max(1, totals.renders),
        device_ms_per_audio_second=1e3 * device.busy / max(totals.audio_seconds, 1e-9),
        reasons=dict(reasons),
    )


def pass_time(device: SimulatedDevice, calls: Calls, until: float) -> None:
    """Let calls and device do what they do until that time."""
    while device.now < until:
        calls.pass_time()
        if rest := device.advance():
            wake_at = math.inf if rest.until is None else max(rest.until, device.now + _LEAST_REST_SECONDS)
            device.now = min(calls.next_at, wake_at)
