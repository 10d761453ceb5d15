"""How a file is cut into ranges, what of them has arrived, and threads that end together."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from server.models.cancellation import Cancellation, Cancelled, run_together
from server.models.partial import PartialFile
from server.models.ranges import FIRST_BYTES, RANGE_BYTES, WHOLE, ByteRange, ranges_of


@pytest.mark.parametrize("size", [None, 1, RANGE_BYTES])
def test_a_short_file_or_one_of_unknown_size_is_one_range(size: int | None) -> None:
    assert ranges_of(size) == WHOLE


@pytest.mark.parametrize(
    "size", [RANGE_BYTES + 1, FIRST_BYTES + RANGE_BYTES, FIRST_BYTES + RANGE_BYTES + 1, 1_915_480_052]
)
def test_the_ranges_of_a_long_file_follow_each_other_from_its_first_byte_to_its_last(size: int) -> None:
    ranges = ranges_of(size)

    assert [one.number for one in ranges] == list(range(len(ranges)))
    assert [one.start for one in ranges] == [0, *(one.end for one in ranges[:-1])]
    assert ranges[0].end == FIRST_BYTES
    assert ranges[-1].end == size
    assert all(one.end is not None and 0 < one.end - one.start <= RANGE_BYTES for one in ranges)


# --- what has arrived

THREE = (ByteRange(0, 0, 4), ByteRange(1, 4, 8), ByteRange(2, 8, 10))


def test_ranges_may_arrive_in_any_order_and_are_remembered(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "file", THREE) as partial_file:
        partial_file.start('"one"')
        partial_file.write(THREE[2], b"89")
        partial_file.write(THREE[1], b"456")

    with PartialFile(tmp_path / "file", THREE) as again:
        assert again.etag == '"one"'
        assert again.missing() == [THREE[0], THREE[1]]
        assert (again.arrived_of(THREE[1]), again.arrived) == (3, 5)
        again.write(THREE[1], b"7")
        again.write(THREE[0], b"0123")
        assert again.missing() == []
        again.finish()

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_another_version_starts_from_nothing(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "file", THREE) as partial_file:
        partial_file.start('"one"')
        partial_file.write(THREE[1], b"4567")
        partial_file.start('"two"')
        assert partial_file.missing() == list(THREE)

    with PartialFile(tmp_path / "file", THREE) as again:
        assert again.arrived == 0
        assert again.etag == ""  # of nothing


def test_a_record_never_tells_of_more_than_there_can_be(tmp_path: Path) -> None:
    """As after a power cut, or where another release has cut other ranges; the hash decides about the rest."""
    with PartialFile(tmp_path / "file", WHOLE) as partial_file:
        partial_file.write(*WHOLE, b"0123456789")
    (tmp_path / "file.part").write_bytes(b"01234")

    with PartialFile(tmp_path / "file", THREE) as again:
        assert [again.arrived_of(one) for one in THREE] == [4, 0, 0]
    with PartialFile(tmp_path / "file", WHOLE) as again:
        assert again.arrived == 5


# --- threads that end together


def test_the_first_to_fail_wakes_the_others_and_is_what_is_told() -> None:
    asleep = threading.Barrier(3)

    def sleep(cancellation: Cancellation) -> None:
        asleep.wait(30)
        cancellation.pause(3600)

    def fail(_: Cancellation) -> None:
        asleep.wait(30)
        raise OSError("full")

    with ThreadPoolExecutor(3) as pool, pytest.raises(OSError, match="full"):
        run_together(pool, [sleep, sleep, fail], Cancellation())


def test_what_has_not_begun_when_one_fails_never_does() -> None:
    begun: list[int] = []

    def call(number: int, _: Cancellation) -> None:
        begun.append(number)
        raise OSError("full")

    with ThreadPoolExecutor(1) as pool:
        blocked = threading.Event()
        pool.submit(blocked.wait, 30)
        parent = Cancellation()
        parent.cancel()
        with pytest.raises(Cancelled):
            run_together(pool, [partial(call, number) for number in range(3)], parent)
        blocked.set()
    assert begun == []


def test_an_interrupt_is_not_held_up_by_a_call_that_can_not_be_woken() -> None:
    over, cancelled = threading.Event(), threading.Event()

    def call(cancellation: Cancellation) -> None:
        with cancellation.calling(cancelled.set):
            os.kill(os.getpid(), signal.SIGINT)
            over.wait(60)

    pool = ThreadPoolExecutor(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_together(pool, [call], Cancellation())
        assert cancelled.is_set()
        assert not over.is_set()
    finally:
        over.set()
        pool.shutdown()


def test_who_is_called_when_cancelled_is_called_once_and_not_after_its_block() -> None:
    called: list[str] = []
    cancellation = Cancellation()
    with cancellation.calling(lambda: called.append("after")):
        pass
    with cancellation.calling(lambda: called.append("within")):
        cancellation.cancel()
    assert called == ["within"]
    with pytest.raises(Cancelled), cancellation.calling(lambda: called.append("late")):
        pass
    with pytest.raises(Cancelled):
        cancellation.check()
