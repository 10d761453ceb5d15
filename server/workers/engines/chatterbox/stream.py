"""One piece of text on its way to being audio: how far it is, and by when it needs more.

Pure: `now` is monotonic seconds. Hops are of fixed lengths, whenever they are made, so that the same tokens give the
same audio under any load.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from server.workers.engine import FIRST_AUDIO_SECONDS
from server.workers.engines.chatterbox.speech_tokens import SILENCE_TOKEN, SPEECH_TOKENS, STOP_TOKEN

HOPS = (19, 25, 50)
"""Tokens given to the flow at a time; of the first, three are lookahead. Small, so that audio begins soon; then larger,
because each hop computes the voice's prompt again. `voicefleet bench simulate` shows what another plan would do."""

_DRAWN_AHEAD = 60
"""Tokens that may be drawn beyond the next hop. The more, the more streams can take part in a step; they are cheap, and
lost when a stream is interrupted."""

_FIRST_AUDIO_GOAL_SECONDS = 0.15
"""From being asked to being due, where the caller waits."""


@dataclass(eq=False, slots=True)
class Stream:
    """`due` is when its audio runs dry, or, before there is any, when it should begin."""

    due: float
    cap: int
    """Tokens that are drawn at most."""
    late_after: float = 0.0
    """Audio that comes before is in time, even if it was due: nobody asked for it any sooner."""
    started: bool = False
    """Whether the caller hears something already: this piece, or one before it."""
    joined: bool = False
    drawn: int = 0
    """Draws that were begun, `known` of which have come back."""
    draws: list[int] = field(default_factory=list)
    """What came back, with the stop mark: all that it takes to say the same elsewhere."""
    repeated: float = 0.0
    """Seconds at its start that are made again: the caller has them from elsewhere."""
    complete: bool = False
    """No more tokens will come."""
    rendered: bool = False
    """Nothing is left to be made."""
    hops: int = 0
    tokens: list[int] = field(default_factory=list)
    """Sounds that the flow has not been given."""
    plan: Sequence[int] = HOPS
    """Tokens of its hops; the last is that of all further ones."""

    @classmethod
    def new(cls, now: float, cap: int, needed_in: float = 0.0, plan: Sequence[int] = HOPS) -> "Stream":
        """The first piece of a text, whose audio the caller's playout needs in so many seconds; 0: the caller waits."""
        due = now + max(needed_in, _FIRST_AUDIO_GOAL_SECONDS)
        return cls(due, cap, late_after=now + FIRST_AUDIO_SECONDS, started=needed_in > 0.0, plan=plan)

    def after(self, cap: int, pause: float) -> "Stream":
        """The piece that follows this one, `pause` seconds later."""
        repeated = max(0.0, self.repeated - pause)
        return Stream(self.due + pause, cap, started=True, repeated=repeated, plan=self.plan)

    def go_on(self, draws: Sequence[int], repeated: float) -> None:
        """Begin with these draws, which were made elsewhere; the first `repeated` seconds of audio are not needed."""
        for token in draws:
            self.drew(token)
        self.drawn = self.known
        self.repeated = repeated

    @property
    def known(self) -> int:
        """Draws that have come back."""
        return len(self.draws)

    @property
    def can_join(self) -> bool:
        """Whether it waits for a row."""
        return not self.joined

    @property
    def can_draw(self) -> bool:
        """Whether one more token is of use."""
        return self.joined and not self.complete and self.drawn < self.cap and self.missing > -_DRAWN_AHEAD

    @property
    def missing(self) -> int:
        """Tokens that have to be begun before the next hop can be made; below 0, so many are begun beyond it."""
        return self._hop + 1 - (len(self.tokens) + self.drawn - self.known)

    @property
    def can_render(self) -> bool:
        """Whether a hop can be made. One token beyond it is known, so that a last hop is never taken for another."""
        return self.joined and not self.rendered and (self.complete or len(self.tokens) > self._hop)

    def drew(self, token: int) -> None:
        """A draw has come back. What comes after the stop mark is no token of this stream."""
        if self.complete:
            return
        self.draws.append(token)
        if token < SPEECH_TOKENS:
            self.tokens.append(token)
        if token == STOP_TOKEN or self.known == self.cap:
            self.complete = True
            self.tokens += [SILENCE_TOKEN] * 3  # as upstream ends every utterance

    @property
    def next_hop(self) -> tuple[list[int], bool]:
        """The tokens of the next hop, and whether it is the last."""
        last = self.complete and len(self.tokens) <= self._hop
        return (self.tokens if last else self.tokens[: self._hop]), last

    def take_hop(self) -> tuple[list[int], bool]:
        """`next_hop`, of which no more is known afterwards than that it was taken."""
        taken, self.rendered = self.next_hop
        self.tokens = self.tokens[len(taken) :]
        self.hops += 1
        return taken, self.rendered

    def heard(self, seconds: float, now: float) -> bool:
        """Audio of so many seconds has left. True: it was late, and the caller's playout ran dry or began too late."""
        again = min(seconds, self.repeated)
        self.repeated -= again
        seconds -= again
        if seconds == 0.0:
            return False
        late = now > max(self.due, self.late_after)
        self.due = max(self.due if self.started else now, now) + seconds
        self.started = True
        self.late_after = 0.0
        return late

    @property
    def _hop(self) -> int:
        return self.plan[min(self.hops, len(self.plan) - 1)]
