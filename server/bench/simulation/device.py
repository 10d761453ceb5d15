"""A device and its host that take as long as real ones would, and say nothing.

The host launches work and goes on; the device does one piece after the other. Where the host has to wait for a render
(`DeviceCosts.waits`) it does. Virtual time passes here and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from server.bench.simulation.costs import DeviceCosts, Progress
from server.bench.simulation.traffic import Speech
from server.workers.engines.chatterbox.capacity import Capacity
from server.workers.engines.chatterbox.loop import Loop
from server.workers.engines.chatterbox.rows import Rows
from server.workers.engines.chatterbox.scheduler import Policy, next_work
from server.workers.engines.chatterbox.speech_tokens import STOP_TOKEN
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.work import Draw, Join, Render, Rest

ROWS = 256
"""Of the decoder: as many as there ever are."""

_SOUND = 1  # any token that is one


@dataclass(frozen=True, slots=True)
class _Drawn:
    device: "SimulatedDevice"
    done_at: float
    streams: Sequence[Stream]

    @property
    def ready(self) -> bool:
        return self.done_at <= self.device.now


@dataclass(frozen=True, slots=True)
class _Rendered:
    device: "SimulatedDevice"
    done_at: float
    hops: Sequence[tuple[Stream, float, bool]]
    """Seconds of audio, and whether they are the last."""

    @property
    def ready(self) -> bool:
        return self.done_at <= self.device.now


class SimulatedDevice:
    """The engine's loop over a device that only takes time. `speeches` are the streams that are being spoken."""

    def __init__(
        self,
        costs: DeviceCosts,
        rows: int = ROWS,
        policy: Policy = next_work,
        promised: DeviceCosts | None = None,
    ) -> None:
        """`promised` are the costs that calibration found, where those of service are others."""
        self.now = 0.0
        self.busy = 0.0
        """Seconds that the device worked, or waited for the host to give it more of the same work."""
        self.speeches: dict[Stream, Speech] = {}
        self.loop: Loop[_Drawn | _Rendered] = Loop(self, self.speeches, Rows(rows, self), lambda: self.now, policy)
        self.loop.costs = (promised or costs).calibrated()
        self.capacity = Capacity(self.loop.costs, rows)
        self._costs = costs
        self._progress: dict[Stream, Progress] = {}
        self._free_at = 0.0
        self._swaps = 0

    def advance(self) -> Rest | None:
        """Do one piece of work, as the engine does: what comes late makes the capacity less."""
        rest = self.loop.advance()
        self.capacity.observe(self.loop.totals.late, self.now)
        return rest

    def submit(self, stream: Stream, speech: Speech) -> None:
        """Speak it."""
        self.speeches[stream] = speech
        self._progress[stream] = Progress()

    def cancel(self, stream: Stream) -> None:
        """Let go of it."""
        self.speeches.pop(stream, None)
        self._progress.pop(stream, None)
        self.loop.rows.leave(stream)

    def launch(self, work: Join | Draw | Render) -> _Drawn | _Rendered:
        """See `loop.Device`."""
        costs = self._costs
        match work:
            case Join(stream):
                self.loop.rows.join(stream)
                self.loop.joined(stream)
                return _Drawn(self, self._spent(costs.join_host, costs.join), [stream])
            case Draw(streams):
                self._swaps = 0
                drawing = self.loop.brought_forward(streams)
                self.loop.drawing(drawing)
                seconds = costs.step_seconds(len(drawing)) + self._swaps * costs.swap
                done_at = self._spent(costs.step_host + self._swaps * costs.swap_host, seconds)
                return _Drawn(self, done_at, drawing)
            case Render(streams):
                hops = [self._hop(stream) for stream in streams]
                self.loop.rendering(len(hops))
                seconds = sum(hop_seconds for hop_seconds, _, _ in hops)
                done_at = self._spent(costs.render_host + costs.render_host_hop * len(hops), seconds)
                if costs.waits:
                    self.now = done_at = done_at + costs.wait
                made = [(stream, audio, last) for stream, (_, audio, last) in zip(streams, hops, strict=True)]
                return _Rendered(self, done_at, made)

    def take(self, launched: _Drawn | _Rendered) -> None:
        """See `loop.Device`."""
        self.now = max(self.now, launched.done_at)
        if isinstance(launched, _Drawn):
            self.loop.drew(launched.streams, [self._token(stream) for stream in launched.streams])
            return
        for stream, seconds, last in launched.hops:
            if speech := self.speeches.get(stream):
                self.loop.heard(stream, seconds)
                if last:
                    self.cancel(stream)
                speech.heard(stream, seconds, last)

    def move(self, source: int, target: int) -> None:
        """See `rows.RowMemory`. It is as quick as nothing."""

    def swap(self, one: int, other: int) -> None:
        """See `rows.RowMemory`."""
        self._swaps += 1

    def _spent(self, host: float, device: float) -> float:
        """Such a piece of work is launched now. Gives when it will be done."""
        begins = max(self._free_at, self.now)
        self.now += host
        self._free_at = max(begins + device, self.now)
        self.busy += self._free_at - begins
        return self._free_at

    def _token(self, stream: Stream) -> int:
        speech = self.speeches.get(stream)
        return STOP_TOKEN if speech is None or stream.known + 1 >= speech.tokens else _SOUND

    def _hop(self, stream: Stream) -> tuple[float, float, bool]:
        """Take a stream's next hop: device seconds, seconds of audio, whether it is the last."""
        tokens, last = stream.take_hop()
        seconds, audio = self._progress[stream].hop(self._costs, tokens, last)
        return seconds, audio, last
