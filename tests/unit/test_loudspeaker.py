"""What a person hears of the answers, and what the node is told of it when they speak into one."""

from server.client.loudspeaker import Loudspeaker

MS = 48  # bytes, at 24 kHz


def test_items_are_played_in_order_and_then_there_is_silence() -> None:
    loudspeaker = Loudspeaker(24_000)
    assert loudspeaker.take(4) == bytes(4)
    loudspeaker.add("one", b"abcdef")
    loudspeaker.add("two", b"gh")
    loudspeaker.add("two", b"ij")
    assert loudspeaker.take(4) == b"abcd"
    assert loudspeaker.take(4) == b"efgh"
    assert loudspeaker.take(4) == b"ij\0\0"


def test_what_is_cut_off_is_known_by_what_was_heard_of_it() -> None:
    loudspeaker = Loudspeaker(24_000)
    loudspeaker.add("heard", bytes(100 * MS))
    loudspeaker.add("cut", bytes(100 * MS))
    loudspeaker.add("unheard", bytes(100 * MS))
    loudspeaker.take(150 * MS)
    assert loudspeaker.stop() == [("cut", 50), ("unheard", 0)]
    assert loudspeaker.take(MS) == bytes(MS)


def test_an_item_that_was_heard_to_its_end_is_not_cut_and_what_comes_of_it_later_is_counted_on() -> None:
    loudspeaker = Loudspeaker(24_000)
    loudspeaker.add("item", bytes(100 * MS))
    loudspeaker.take(200 * MS)
    loudspeaker.add("item", bytes(100 * MS))
    loudspeaker.take(20 * MS)
    assert loudspeaker.stop() == [("item", 120)]
    assert loudspeaker.stop() == []
