"""What the caller has heard of the assistant's speech, so that history never holds a word more.

Pure. A client plays audio in the order and at the rate it was made, so what it has played by now follows from what was
sent and when. A client that knows better says so: where it stopped (`truncate`), or, clause by clause, how far it has
come (`confirm`, `hold`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

# A clause broken off in the middle: how long the rest would have been follows from an English voice's usual pace.
_CHARACTERS_PER_SECOND = 15.0
# A client that plays that much later than it was sent audio has stalled; its next audio is not reckoned to be as late.
_MOST_LAG_SECONDS = 1.0
_QUESTION_ENDS = ("?", "？", "؟", '?"', "?”")  # noqa: RUF001  # of every script


@dataclass(slots=True)
class _Clause:
    """A clause of an item, the audio sent of it, and the stretches `(start, seconds)` of time in which it is played.

    `played` is what the client says that it has played, besides those.
    """

    text: str
    sent: float = 0.0
    whole: bool = False
    stretches: list[tuple[float, float]] = field(default_factory=list)
    played: float = 0.0

    @property
    def seconds(self) -> float:
        """What the whole text takes to say."""
        return self.sent if self.whole else max(self.sent, len(self.text) / _CHARACTERS_PER_SECOND)

    @property
    def ends_at(self) -> float:
        """When the last of the audio sent of it has been played."""
        return sum(self.stretches[-1]) if self.stretches else 0.0

    def said(self, since: float, until: float) -> str:
        """The words of it that are played between two times, taken to be spoken at an even pace."""
        if not self.stretches or not self.seconds:
            return ""
        began = self.stretches[0][0]
        first, last = (round(len(self.text) * (time - began) / self.seconds) for time in (since, until))
        if last <= 0 or first >= len(self.text):
            return ""
        first, end = self.text.rfind(" ", 0, max(0, first)) + 1, self.text.find(" ", last)
        return self.text[first : None if end < 0 else end]


class Playback:
    """The assistant's speech on the caller's side. `now` is monotonic seconds; durations are seconds of audio."""

    def __init__(self) -> None:
        self._items: dict[str, list[_Clause]] = {}
        self.ends_at = 0.0
        self.began_at = 0.0
        """When the client began to play, without a gap, what `ends_at` is the end of."""
        self._lag = 0.0  # from the leaving of audio to its playing, as the client's confirmations show it

    def ahead(self, now: float) -> float:
        """Seconds of audio that the client has received and not yet played."""
        return max(0.0, self.ends_at - now)

    def clause(self, item_id: str, text: str) -> None:
        """The audio that follows speaks `text`, the next clause of item `item_id`."""
        self.finish(item_id)
        self._items.setdefault(item_id, []).append(_Clause(text))

    def finish(self, item_id: str) -> None:
        """The item's latest clause has been sent to its end."""
        if clauses := self._items.get(item_id):
            clauses[-1].whole = True

    def audio(self, item_id: str, seconds: float, now: float) -> bool:
        """So much audio of the item's latest clause leaves for the client.

        Returns whether the client's playout had run dry in the middle of the item (an underrun).
        """
        clauses = self._items[item_id]
        if not clauses:  # all that was sent of it is cut off, and what still comes says nothing that was kept
            clauses.append(_Clause(""))
        mid_item = any(clause.stretches for clause in clauses)
        dry = now > self.ends_at
        start = now + self._lag if dry else self.ends_at
        if dry:
            self.began_at = start
        clauses[-1].sent += seconds
        stretches = clauses[-1].stretches
        if stretches and not dry:
            # One stretch for as long as nothing interrupts it keeps an hour's call small.
            first, played = stretches[-1]
            stretches[-1] = (first, played + seconds)
        else:
            stretches.append((start, seconds))
        self.ends_at = start + seconds
        return dry and mid_item

    def confirm(self, item_id: str, clause: int, asked: float, now: float) -> None:
        """The client says, as it was `asked` to, that it has just played the item's clause of that number, from 0.

        What follows is played as much later, or sooner, than it was reckoned.
        """
        self._delay(item_id, clause, now - self._due(item_id, clause, asked, now))

    def hold(self, item_id: str, clause: int, asked: float, until: float) -> bool:
        """The client has not played the clause to its end, and will not before `until`; whether that is news."""
        late = until - self._due(item_id, clause, asked, until)
        if late > 0:
            self._delay(item_id, clause, late)
        return late > 0

    def _due(self, item_id: str, clause: int, asked: float, unknown: float) -> float:
        """When the client is to say that it has played the clause; `unknown` for one that is forgotten, or silent."""
        clauses = self._items.get(item_id, [])[clause : clause + 1]
        return max(clauses[0].ends_at, asked) if clauses and clauses[0].stretches else unknown

    def _delay(self, item_id: str, clause: int, seconds: float) -> None:
        """The clause and all that follows are played so much later."""
        if not seconds:
            return
        late = self._items[item_id][clause:]
        for behind in takewhile(item_id.__ne__, reversed(self._items)):
            late += self._items[behind]
        for one in late:
            one.stretches = [(start + seconds, length) for start, length in one.stretches]
        self.ends_at += seconds
        self._lag = min(max(0.0, self._lag + seconds), _MOST_LAG_SECONDS)

    def heard(self, item_id: str, now: float) -> float:
        """Seconds of the item that the client has played by `now`."""
        return sum(
            clause.played + sum(min(max(0.0, now - start), seconds) for start, seconds in clause.stretches)
            for clause in self._items[item_id]
        )

    def sent(self, item_id: str) -> float:
        """Seconds of the item's audio sent so far."""
        return sum(clause.sent for clause in self._items[item_id])

    def text(self, item_id: str, heard: float) -> str:
        """The item's text as far as its first `heard` seconds of audio speak it, cut at a word's end.

        Inside a clause the text is taken to be spoken at an even pace.
        """
        return " ".join(text for _, text, _ in self._heard(item_id, heard))

    def _heard(self, item_id: str, heard: float) -> Iterator[tuple[_Clause, str, float]]:
        """The clauses that the item's first `heard` seconds reach, of each the text and the seconds of it."""
        left = heard
        for clause in self._items[item_id]:
            if clause.seconds <= left + 1e-3:  # a millisecond: truncate speaks in whole ones
                yield clause, clause.text, clause.seconds
                left = max(0.0, left - clause.seconds)
                continue
            # One character more than was spoken: the space that shows a word to be complete.
            cut = clause.text[: int(len(clause.text) * left / clause.seconds) + 1]
            if " " in cut:
                yield clause, cut.rsplit(" ", 1)[0], left
            return

    def said(self, since: float, until: float) -> str:
        """What the client plays between two times, as far as it has been sent."""
        return " ".join(filter(None, (clause.said(since, until) for clause in self._clauses_after(since))))

    def asked(self, since: float, until: float) -> bool:
        """Whether a question comes to its end between two times."""
        return any(
            clause.stretches
            and clause.text.endswith(_QUESTION_ENDS)
            and since <= clause.stretches[0][0] + clause.seconds <= until
            for clause in self._clauses_after(since)
        )

    def _clauses_after(self, time: float) -> Iterator[_Clause]:
        """The clauses of the items that were not yet played to their end at that time, the oldest first."""
        for item_id in self.unfinished(time):
            yield from self._items[item_id]

    def unfinished(self, now: float) -> list[str]:
        """The items that the client has not played to their end by `now`."""
        item_ids = []
        for item_id in reversed(self._items):
            ends_at = max((clause.ends_at for clause in self._items[item_id]), default=0.0)
            if ends_at > now:
                item_ids.append(item_id)
            elif ends_at:  # items are played in their order, and so what is older has been played too
                break
        return item_ids[::-1]

    def stop(self, item_id: str, now: float) -> None:
        """The client says that it plays no more of the item."""
        if item_id in self.unfinished(now):
            self.cut(now)
        for clause in self._items[item_id]:
            clause.stretches = []

    def truncate(self, item_id: str, heard: float, now: float) -> None:
        """The client says that it has played the item's first `heard` seconds, and plays no more of what was sent.

        What is cut off is gone: the item's text grows again only by what is still to be said.
        """
        self.stop(item_id, now)
        kept = []
        for clause, text, seconds in self._heard(item_id, heard):
            clause.text, clause.sent, clause.played, clause.whole = text, seconds, seconds, True
            kept.append(clause)
        self._items[item_id] = kept

    def clauses(self, item_id: str) -> tuple[tuple[str, float], ...]:
        """The item's clauses, each with the seconds that all of it takes to say."""
        return tuple((clause.text, clause.seconds) for clause in self._items[item_id])

    def latest(self, now: float) -> list[str]:
        """The items that the client may be playing, or was playing last."""
        return self.unfinished(now) or list(self._items)[-1:]

    def restore(self, item_id: str, clauses: Iterable[tuple[str, float]]) -> None:
        """The item was spoken, in such clauses, on a connection that is gone."""
        self._items[item_id] = [_Clause(text, seconds, whole=True, played=seconds) for text, seconds in clauses]

    def cut(self, now: float) -> None:
        """The client stops playing: what it has not played by `now` it never will."""
        for item_id in self.unfinished(now):
            for clause in self._items[item_id]:
                clause.stretches = [
                    (start, min(seconds, now - start)) for start, seconds in clause.stretches if start < now
                ]
        self.ends_at = min(self.ends_at, now)

    def knows(self, item_id: str) -> bool:
        """Whether any of the item was spoken."""
        return item_id in self._items

    def forget(self, item_id: str) -> None:
        """The item was deleted."""
        self._items.pop(item_id, None)
