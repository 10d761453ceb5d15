"""Whose turn it is, in virtual time: a pretended device that takes as long as a real one would."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from server.workers.engines.chatterbox.capacity import Capacity, Costs
from server.workers.engines.chatterbox.scheduler import (
    LARGEST_RENDER,
    LEAD_SECONDS,
    Draw,
    Join,
    Render,
    Rest,
    next_work,
)
from server.workers.engines.chatterbox.speech_tokens import STOP_TOKEN, TOKEN_RATE
from server.workers.engines.chatterbox.stream import Stream


@dataclass
class Device:
    """Does what the scheduler says, in seconds like an A10G's."""

    rows: int = 64
    step: float = 1.5e-3
    step_row: float = 0.13e-3
    join: float = 4e-3
    hop: float = 6e-3
    hop_token: float = 0.1e-3
    now: float = 0.0
    streams: list[Stream] = field(default_factory=list)
    first_audio: dict[Stream, float] = field(default_factory=dict)
    dry: list[Stream] = field(default_factory=list)
    renders: list[int] = field(default_factory=list)
    longest_lead: float = 0.0

    def speak(self, tokens: int, now: float | None = None) -> Stream:
        stream = Stream.new(self.now if now is None else now, tokens)
        self.streams.append(stream)
        return stream

    @property
    def used(self) -> int:
        return sum(stream.joined and not stream.complete for stream in self.streams)

    def run(self, until: float, each: Callable[[], None] = lambda: None) -> None:
        while self.now < until:
            work = next_work(self.streams, self.rows - self.used, self.now, self.hop)
            match work:
                case Join(stream):
                    self.now += self.join
                    stream.joined, stream.drawn = True, 1
                    stream.drew(1)
                case Draw(streams):
                    self.now += self.step + self.step_row * len(streams)
                    for stream in streams:
                        stream.drawn += 1
                        stream.drew(1)
                case Render(streams):
                    self.renders.append(len(streams))
                    taken = [len(stream.take_hop()[0]) for stream in streams]
                    self.now += sum(self.hop + self.hop_token * tokens for tokens in taken)
                    for stream, tokens in zip(streams, taken, strict=True):
                        self._rendered(stream, tokens)
                case Rest(wake):
                    self.now = until if wake is None else max(min(wake, until), self.now + 1e-6)
            each()

    def _rendered(self, stream: Stream, tokens: int) -> None:
        self.first_audio.setdefault(stream, self.now)
        if stream.heard(tokens / TOKEN_RATE, self.now):
            self.dry.append(stream)
        self.longest_lead = max(self.longest_lead, stream.due - self.now)


def test_a_stream_is_made_whole_whatever_its_length() -> None:
    device = Device()
    lengths = [1, 2, 18, 19, 20, 35, 36, 60, 61, 200]
    streams = [device.speak(length) for length in lengths]

    device.run(until=60.0)

    assert all(stream.rendered for stream in streams)
    assert device.used == 0
    assert not device.dry


def test_a_stop_mark_ends_a_stream_and_what_was_drawn_after_it_is_dropped() -> None:
    stream = Stream.new(0.0, cap=100)
    for token in (5, 6561, 6, STOP_TOKEN, 7):
        stream.drew(token)

    assert stream.complete
    assert stream.take_hop() == ([5, 6, 4299, 4299, 4299], True)


def test_hops_are_the_same_however_the_tokens_came() -> None:
    def hops(burst: int) -> list[tuple[int, bool]]:
        stream, made = Stream.new(0.0, cap=100), []
        stream.joined = True
        while not stream.rendered:
            for _ in range(burst):
                stream.drew(1)
            while stream.can_render:
                tokens, last = stream.take_hop()
                made.append((len(tokens), last))
        return made

    assert hops(1) == hops(7) == hops(1000)
    assert sum(length for length, _ in hops(1)) == 100 + 3


def test_first_audio_comes_before_the_lead_of_others() -> None:
    device = Device()
    for _ in range(30):
        device.speak(500)
    device.run(until=8.0)  # all of them are far ahead

    late = device.speak(100)
    asked = device.now
    device.run(until=asked + 1.0)

    assert device.first_audio[late] - asked < 0.1
    assert not device.dry


def test_whoever_would_run_dry_goes_before_a_new_stream() -> None:
    speaking, new = Stream.new(0.0, 100), Stream.new(10.0, 100)
    speaking.joined = speaking.started = True
    speaking.due = 10.05
    speaking.tokens = [1] * 60

    work = next_work([new, speaking], 4, 10.0, 0.01)

    assert work == Render([speaking])


def test_a_hop_without_haste_waits_for_company_and_one_in_haste_does_not() -> None:
    ready, drawing = Stream.new(0.0, 100), Stream.new(0.0, 100)
    for stream in (ready, drawing):
        stream.joined = stream.started = True
    ready.tokens = [1] * 60
    ready.due, drawing.due = 12.0, 13.0

    assert next_work([ready, drawing], 4, 10.0, 0.01) == Draw([drawing])
    assert next_work([ready, drawing], 4, 11.5, 0.01) == Render([ready])


def test_no_more_hops_are_made_together_than_the_most_urgent_can_wait_for() -> None:
    streams = []
    for number in range(30):
        stream = Stream.new(0.0, 100)
        stream.joined = stream.started = True
        stream.tokens = [1] * 60
        stream.due = 10.2 + 0.1 * number
        streams.append(stream)

    def made(at: float, hop_seconds: float) -> int:
        work = next_work(streams, 0, at, hop_seconds)
        assert isinstance(work, Render)
        return len(work.streams)

    assert made(at=10.0, hop_seconds=0.1) == 8, "those who are in haste themselves"
    assert made(at=10.0, hop_seconds=0.019) == 10, "as many as there is time for"
    assert made(at=10.0, hop_seconds=0.001) == LARGEST_RENDER
    assert made(at=8.0, hop_seconds=0.5) == 4


def test_the_lead_is_bounded_and_the_device_rests() -> None:
    device = Device()
    stream = device.speak(1000)

    device.run(until=20.0)

    assert device.longest_lead < LEAD_SECONDS + 2.0  # a hop beyond at most
    assert not stream.rendered, "40 s of audio are not made in 20"
    assert not device.dry


def test_streams_beyond_the_rows_wait_and_get_their_turn() -> None:
    device = Device(rows=4)
    streams = [device.speak(50) for _ in range(12)]

    device.run(until=30.0, each=lambda: check(device.used <= 4))

    assert all(stream.rendered for stream in streams)


def check(holds: bool) -> None:
    assert holds


@pytest.mark.parametrize("streams", [8, 32, 48])
def test_staggered_streams_are_kept_from_running_dry_and_start_soon(streams: int) -> None:
    device = Device()
    arrivals = iter(range(1, streams))
    device.speak(400)

    def arrive() -> None:
        if device.now > len(device.streams) * 0.1 and next(arrivals, None):
            device.speak(400)

    device.run(until=16.0 + streams * 0.1, each=arrive)

    assert len(device.streams) == streams
    assert not device.dry
    starts = [device.first_audio[stream] - number * 0.1 for number, stream in enumerate(device.streams)]
    assert max(starts) < 0.35
    if streams > 30:
        assert max(device.renders) > 4, "under load hops are made together"


class TestCapacity:
    COSTS = Costs(step={1: 1.6e-3, 32: 5.7e-3, 64: 9.9e-3}, audio_second=0.010, start=0.02)

    def test_is_what_the_device_has_time_for(self) -> None:
        assert self.COSTS.sustainable(64) == 60  # 25 steps of 9.9 ms and 60 times 10 ms are 85 % of a second
        assert self.COSTS.sustainable(16) == 16
        assert Costs({1: 1.0}, 1.0, 1.0).sustainable(8) == 1, "one is always tried"

    def test_shrinks_when_audio_is_late_and_grows_back_slowly(self) -> None:
        capacity = Capacity(self.COSTS, rows=64)

        capacity.was_late(now=100.0)
        capacity.was_late(now=100.5)  # of the same trouble
        assert capacity.limit == 54
        for second in range(101, 400):
            capacity.went_well(now=float(second))
        assert capacity.limit == 60

    def test_a_device_too_slow_for_one_stream_speaks_it_all_the_same(self) -> None:
        capacity = Capacity(Costs({1: 0.5}, 5.0, 9.0), rows=8)
        assert capacity.limit == 1
        capacity.was_late(now=10.0)
        assert capacity.limit == 1
