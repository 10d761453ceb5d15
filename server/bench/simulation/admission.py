"""Who is let in: callers who dial whenever they like, and a node that says no at the start of a call when it is full.

The node's own admission, its measure of how much agents talk and the engine's capacity with its feedback run in virtual
time. What comes of it is set beside the calls that would hold.
"""

from dataclasses import dataclass
from random import Random

from server.access.admission import Admission, AtCapacity
from server.access.call_capacity import TalkShare, calls_for
from server.bench.percentiles import percentile_ms
from server.bench.simulation.costs import DeviceCosts
from server.bench.simulation.device import SimulatedDevice
from server.bench.simulation.simulation import pass_time
from server.bench.simulation.traffic import Calls, Heard, Traffic

CALL_SECONDS = 180.0
"""Mean of how long callers stay; the times are exponential, so that as many as dial can be there from the start."""

_OFFERED = 1.2
"""Calls that there would be if nobody was refused, of those that would hold."""

_WARM_UP_SECONDS = 120.0
_CHECKED_EVERY_SECONDS = 1.0  # as gateways check their workers


@dataclass(frozen=True, slots=True)
class Admitted:
    """What a node did that more callers dial than it can serve. All but `limit` is without the first two minutes."""

    hold: int
    """Calls that would hold, by `comparison.most_calls`."""
    calls: float
    """That were served, on average."""
    first_audio_p95_ms: float
    ran_dry: int
    chunks: int
    dialled: int
    refused: int
    refused_with_room: int
    """Refused while fewer calls were served than would hold."""
    limit: int
    """Calls that the node takes at the end."""
    talk_share: float
    """That it measured."""

    @property
    def of_those_that_hold(self) -> float:
        """Below 1 it takes too few, above 1 too many."""
        return self.calls / self.hold

    @property
    def late_share(self) -> float:
        """Of the pieces of audio, those that came late."""
        return self.ran_dry / max(1, self.chunks)


def admitted(
    costs: DeviceCosts, traffic: Traffic, hold: int, seconds: float, promised: DeviceCosts | None = None
) -> Admitted:
    """Let callers dial a node of which `hold` calls would hold, and watch for so many seconds after the warm-up.

    `promised` are the costs that its calibration found, by default the true ones. `traffic.calls` says nothing here.
    """
    device = SimulatedDevice(costs, promised=promised)
    calls = Calls(traffic, device)
    node = _Node(device, calls, hold)
    pass_time(device, calls, _WARM_UP_SECONDS)
    calls.heard = Heard()
    node.dialled = node.refused = node.refused_with_room = 0
    node.call_seconds = 0.0
    pass_time(device, calls, _WARM_UP_SECONDS + seconds)
    heard = calls.heard
    return Admitted(
        hold=hold,
        calls=node.call_seconds / seconds,
        first_audio_p95_ms=percentile_ms(heard.first_audio, 95),
        ran_dry=heard.ran_dry,
        chunks=heard.chunks,
        dialled=node.dialled,
        refused=node.refused,
        refused_with_room=node.refused_with_room,
        limit=node.admission.limit,
        talk_share=node.share.ratio,
    )


class _Node:
    """The front door: `hold` calls would hold behind it."""

    def __init__(self, device: SimulatedDevice, calls: Calls, hold: int) -> None:
        self.share = TalkShare()
        self.admission = Admission(limit=0, retry_after=1)
        self.dialled = self.refused = self.refused_with_room = 0
        self.call_seconds = 0.0
        self._device, self._calls, self._hold = device, calls, hold
        self._random = Random(calls.traffic.seed + 1)  # noqa: S311 # it keeps nothing secret
        self._check()
        for _ in range(round(_OFFERED * hold)):
            self._dial()
        self._expect()

    def _check(self) -> None:
        """How many calls the node takes from now on."""
        now = self._device.now
        self.share.observe(now, self.admission.active, self._device.loop.totals.audio_seconds)
        self.admission.resize(calls_for(self._device.capacity.limit, self.share.ratio))
        self.call_seconds += self.admission.active * _CHECKED_EVERY_SECONDS
        self._calls.at(now + _CHECKED_EVERY_SECONDS, self._check)

    def _expect(self) -> None:
        """Somebody dials, some time from now."""
        self._calls.at(self._device.now + self._random.expovariate(_OFFERED * self._hold / CALL_SECONDS), self._next)

    def _next(self) -> None:
        self._dial()
        self._expect()

    def _dial(self) -> None:
        self.dialled += 1
        try:
            lease = self.admission.admit()
        except AtCapacity:
            self.refused += 1
            self.refused_with_room += self.admission.active < self._hold
            return
        call = self._calls.begin(self._random.random())

        def over() -> None:
            call.hang_up()
            lease.release()

        self._calls.at(self._device.now + self._random.expovariate(1.0 / CALL_SECONDS), over)
