"""Whose turn it is, in virtual time: a pretended device that takes as long as a real one would."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from server.workers.engines.chatterbox.capacity import Capacity, sustainable
from server.workers.engines.chatterbox.costs import LARGEST_RENDER, Costs, Curve
from server.workers.engines.chatterbox.scheduler import LEAD_SECONDS, next_work
from server.workers.engines.chatterbox.speech_tokens import STOP_TOKEN, TOKEN_RATE
from server.workers.engines.chatterbox.stream import HOPS, Stream
from server.workers.engines.chatterbox.trace import Trace
from server.workers.engines.chatterbox.work import Draw, Join, Render, Rest

COSTS = Costs.of({1: 1.6e-3, 64: 9.9e-3}, {1: 0.02, 4: 0.021, 16: 0.08}, join=4e-3)
"""Of a device on which a render of four takes no longer than one of one."""


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
    longest_lead: float = 0.0

    def speak(self, tokens: int, now: float | None = None) -> Stream:
        stream = Stream.new(self.now if now is None else now, tokens)
        self.streams.append(stream)
        return stream

    @property
    def used(self) -> int:
        return sum(stream.joined and not stream.complete for stream in self.streams)

    def run(self, until: float, each: Callable[[], None] = lambda: None) -> None:
        hop = self.hop + self.hop_token * HOPS[-1]
        costs = Costs.of(
            {1: self.step + self.step_row, 64: self.step + 64 * self.step_row}, {1: hop, 16: 16 * hop}, self.join
        )
        while self.now < until:
            work = next_work(self.streams, self.rows - self.used, self.now, costs)
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
                    taken = [len(stream.take_hop()[0]) for stream in streams]
                    self.now += sum(self.hop + self.hop_token * tokens for tokens in taken)
                    for stream, tokens in zip(streams, taken, strict=True):
                        self._rendered(stream, tokens)
                case Rest(wake):
                    self.now = max(min(until if wake is None else wake, self.now + 0.01), self.now + 1e-6)
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


def ready(due: float, started: bool = True) -> Stream:
    """With the tokens of a hop, and with as many drawn beyond it as there may be."""
    stream = Stream(due, cap=1000, started=started, joined=True)
    stream.tokens = [1] * (HOPS[0] + 61)
    return stream


def drawing(due: float, started: bool = True) -> Stream:
    """Of which no token is there yet."""
    return Stream(due, cap=1000, started=started, joined=True)


def test_whoever_would_run_dry_goes_before_a_new_stream() -> None:
    speaking, new = ready(due=10.04), Stream.new(10.0, 100)

    assert next_work([new, speaking], 4, 10.0, COSTS) == Render([speaking])
    assert next_work([new, ready(due=12.0)], 4, 10.0, COSTS) == Join(new)


def test_a_hop_without_haste_waits_for_company_and_one_in_haste_does_not() -> None:
    first, other = ready(due=12.0), drawing(due=13.0)

    assert next_work([first, other], 4, 10.0, COSTS) == Draw([other])
    assert next_work([first, other], 4, 11.9, COSTS) == Render([first])


def test_as_many_hops_are_made_together_as_are_worth_it() -> None:
    streams = [ready(due=12.0 + 0.01 * number) for number in range(LARGEST_RENDER)]

    assert COSTS.render_batch == 4
    assert next_work(streams, 0, 10.0, COSTS) == Render(streams[:4])
    assert next_work(streams, 0, 11.95, COSTS) == Render(streams[:4])


def test_first_audio_takes_along_those_who_cost_it_no_time_or_would_run_dry() -> None:
    new, others = ready(due=10.1, started=False), [ready(due=12.0 + 0.1 * number) for number in range(9)]
    linear = Costs.of({1: 1.6e-3}, {1: 0.02, 16: 0.32}, join=4e-3)
    fixed = Costs.of({1: 1.6e-3}, {1: 0.02, 16: 0.021}, join=4e-3)

    assert next_work([*others, new], 0, 10.0, linear) == Render([new])
    assert next_work([*others, new], 0, 10.0, COSTS) == Render([new, *others[:3]])
    assert next_work([*others, new], 0, 10.0, fixed) == Render([new, *others])


def test_a_step_waits_until_half_of_all_can_take_part_unless_somebody_has_no_time() -> None:
    drawers = [drawing(due=12.0 + 0.1 * number) for number in range(3)]
    others = [ready(due=13.0) for _ in range(3)]
    full = [ready(due=13.8) for _ in range(4)]
    for stream in (*others, *full):
        stream.tokens = []
        stream.complete = True
        stream.rendered = False
    silent = drawing(due=10.1, started=False)

    assert isinstance(next_work([*drawers, *others, *full], 0, 10.0, COSTS), Render), "what is ready, meanwhile"
    assert next_work(drawers, 0, 10.0, COSTS) == Draw(drawers)
    assert next_work([*drawers, silent], 0, 10.0, COSTS) == Draw([silent, *drawers]), "all come along"


def test_nobody_draws_alone_while_others_have_their_lead_and_it_is_said_until_when() -> None:
    drawer, others = drawing(due=13.0), [ready(due=14.5 + 0.1 * number) for number in range(3)]

    work = next_work([drawer, *others], 0, 10.0, COSTS)

    assert isinstance(work, Rest)
    assert work.until == pytest.approx(10.5), "then the first of the others has lost its lead"
    assert next_work([drawer, *others], 0, 12.9, COSTS) == Draw([drawer])


def test_a_piece_that_follows_has_its_row_before_it_is_due() -> None:
    silent, follower = drawing(due=10.1, started=False), drawing(due=12.0)
    follower.joined = False

    assert next_work([silent, follower], 4, 10.0, COSTS) == Draw([silent])
    assert next_work([silent, follower], 4, 11.6, COSTS) == Join(follower)
    assert next_work([silent, follower], 0, 11.6, COSTS) == Draw([silent]), "there is no free row"


def test_a_choice_is_kept_with_its_reason_and_choices_are_bounded() -> None:
    trace = Trace(length=2)
    new = Stream.new(10.0, 100)
    for _ in range(3):
        trace.add(10.0, next_work([new], 4, 10.0, COSTS))
    new.joined = True
    trace.add(10.1, next_work([new], 4, 10.1, COSTS))
    trace.add(10.2, next_work([], 4, 10.2, COSTS))

    assert [(choice.work, choice.reason, choice.times) for choice in trace.choices] == [
        ("draw", "first audio", 1),
        ("rest", "all have their lead", 1),
    ]


def test_costs_lie_on_straight_lines_between_what_was_measured() -> None:
    curve = Curve({1: 1.0, 9: 3.0, 17: 2.0})

    assert [curve(size) for size in (1, 5, 9, 13, 17, 33)] == [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]
    assert Curve({4: 2.0})(8) == 4.0
    assert Curve({4: 2.0})(1) == 2.0


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


class TestCapacity:
    COSTS = Costs.of({1: 1.6e-3, 32: 5.7e-3, 64: 9.9e-3}, {1: 0.010, 16: 0.160}, join=2e-3)

    def test_is_what_the_device_has_time_for(self) -> None:
        assert 30 <= sustainable(self.COSTS, 64) <= 50, "50 times 10.5 ms of hops are half of a second, and steps come"
        assert sustainable(self.COSTS, 16) == 16
        assert sustainable(Costs.of({1: 1.0}, {1: 1.0}, 1.0), 8) == 1, "one is always tried"

    def test_shrinks_when_audio_is_late_and_grows_back_slowly(self) -> None:
        capacity = Capacity(self.COSTS, rows=20)

        capacity.observe(late=1, now=100.0)
        capacity.observe(late=3, now=105.0)  # of the same trouble
        assert capacity.limit == 19
        capacity.observe(late=4, now=111.0)
        assert capacity.limit == 18
        for second in range(112, 400):
            capacity.observe(late=4, now=float(second))
        assert capacity.limit == 20

    def test_a_device_too_slow_for_one_stream_speaks_it_all_the_same(self) -> None:
        capacity = Capacity(Costs.of({1: 0.5}, {1: 5.0}, 9.0), rows=8)
        assert capacity.limit == 1
        capacity.observe(late=1, now=10.0)
        assert capacity.limit == 1
