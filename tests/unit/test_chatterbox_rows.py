"""No schedule of joins, exchanges and leaves loses, leaks or mixes up a row."""

from hypothesis import given
from hypothesis import strategies as st

from server.workers.engines.chatterbox.rows import Rows

SIZE = 6


class Memory:
    """Rows that hold the name of whoever they are for."""

    def __init__(self) -> None:
        self.held = [""] * SIZE
        self.swaps = 0

    def move(self, source: int, target: int) -> None:
        self.held[target], self.held[source] = self.held[source], ""

    def swap(self, one: int, other: int) -> None:
        self.swaps += 1
        self.held[one], self.held[other] = self.held[other], self.held[one]


STEPS = st.one_of(
    st.tuples(st.just("join"), st.just(frozenset[int]())),
    st.tuples(st.sampled_from(["leave", "choose"]), st.frozensets(st.integers(0, SIZE - 1))),
)


@given(st.lists(STEPS, max_size=60))
def test_every_owner_keeps_its_own_row_and_every_row_comes_back(schedule: list[tuple[str, frozenset[int]]]) -> None:
    memory = Memory()
    rows: Rows[str] = Rows(SIZE, memory)
    names = iter(f"stream {number}" for number in range(100))
    there: list[str] = []
    for action, picks in schedule:
        picked = {there[pick] for pick in picks if pick < len(there)}
        if action == "join" and len(there) < SIZE:
            there.append(next(names))
            memory.held[rows.join(there[-1])] = there[-1]
        elif action == "leave":
            for name in picked:
                rows.leave(name)
                there.remove(name)
        elif action == "choose":
            before = memory.swaps
            rows.bring_forward(picked)
            assert set(rows.owners[: len(picked)]) == picked
            assert memory.swaps - before <= min(len(picked), len(there) - len(picked))

        assert rows.used == len(there)
        assert set(rows.owners) == set(there)
        assert memory.held[: rows.used] == list(rows.owners)
        assert all(name in rows for name in there)

    for name in there:
        rows.leave(name)
    assert rows.used == 0


def test_leaving_without_a_row_is_no_fault() -> None:
    rows: Rows[str] = Rows(SIZE, Memory())
    rows.leave("nobody")
    assert rows.used == 0
