"""Which stream has which row of the decoder. Those in use come first, and among them those that are to be computed.

So a step computes the first rows and no others, however streams come, rest and go. Pure: it says what is to be moved.
"""

from collections.abc import Collection, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

Owner = TypeVar("Owner", bound=Hashable)


class RowMemory(Protocol):
    """What lies in the rows."""

    def move(self, source: int, target: int) -> None:
        """Overwrite row `target` with row `source`, which is of no use any more."""
        ...

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        ...


class Rows(Generic[Owner]):
    """The owners of `size` rows."""

    def __init__(self, size: int, memory: RowMemory) -> None:
        self.size = size
        self._memory = memory
        self._owners: list[Owner] = []  # by row
        self._rows: dict[Owner, int] = {}

    @property
    def used(self) -> int:
        """Rows that have an owner."""
        return len(self._owners)

    @property
    def owners(self) -> Sequence[Owner]:
        """Who has the rows in use, by row."""
        return self._owners

    def __contains__(self, owner: Owner) -> bool:
        return owner in self._rows

    def join(self, owner: Owner) -> int:
        """A free row for `owner`, who has none. There has to be one."""
        assert self.used < self.size
        assert owner not in self._rows
        self._rows[owner] = self.used
        self._owners.append(owner)
        return self._rows[owner]

    def leave(self, owner: Owner) -> None:
        """Free the row of `owner`; an owner without a row is none the worse."""
        if owner not in self._rows:
            return
        hole, last = self._rows.pop(owner), self._owners.pop()
        if last != owner:
            self._memory.move(self.used, hole)
            self._owners[hole] = last
            self._rows[last] = hole

    def bring_forward(self, chosen: Collection[Owner]) -> None:
        """Give the `chosen` owners the first rows, with as few exchanges as that takes."""
        behind = [owner for owner in self._owners[len(chosen) :] if owner in chosen]
        for row, owner in enumerate(self._owners[: len(chosen)]):
            if owner not in chosen:
                self._swap(row, self._rows[behind.pop()])

    def _swap(self, one: int, other: int) -> None:
        self._memory.swap(one, other)
        owners = self._owners
        owners[one], owners[other] = owners[other], owners[one]
        self._rows[owners[one]] = one
        self._rows[owners[other]] = other
