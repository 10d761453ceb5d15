"""One piece of text on its way to being audio: how far it is, and by when it needs more.

Pure: `now` is monotonic seconds. Hops are of fixed lengths, whenever they are made, so that the same tokens give the
same audio under any load.
"""

from dataclasses import dataclass, field

from server.workers.engines.chatterbox.speech_tokens import SILENCE_TOKEN, SPEECH_TOKENS, STOP_TOKEN

_HOPS = (19, 16, 25, 50)
"""Tokens given to the flow at a time; of the first, three are lookahead. Small, so that audio begins soon; then larger,
because each hop computes the voice's prompt again."""

_DRAWN_AHEAD = 25
"""Tokens that may be drawn beyond the next hop: a second of speech."""

_FIRST_AUDIO_SECONDS = 0.15
"""From being asked to being late."""


@dataclass(eq=False, slots=True)
class Stream:
    """`due` is when its audio runs dry, or, before there is any, when it should begin."""

    due: float
    cap: int
    """Tokens that are drawn at most."""
    started: bool = False
    """Whether the caller hears something already: this piece, or one before it."""
    joined: bool = False
    drawn: int = 0
    """Draws that were begun, `known` of which have come back."""
    known: int = 0
    complete: bool = False
    """No more tokens will come."""
    rendered: bool = False
    """Nothing is left to be made."""
    hops: int = 0
    tokens: list[int] = field(default_factory=list)
    """Sounds that the flow has not been given."""

    @classmethod
    def new(cls, now: float, cap: int) -> "Stream":
        """The first piece of a text."""
        return cls(now + _FIRST_AUDIO_SECONDS, cap)

    def after(self, cap: int, pause: float) -> "Stream":
        """The piece that follows this one, `pause` seconds later."""
        return Stream(self.due + pause, cap, started=True)

    @property
    def can_join(self) -> bool:
        """Whether it waits for a row."""
        return not self.joined

    @property
    def can_draw(self) -> bool:
        """Whether one more token is of use."""
        begun = len(self.tokens) + self.drawn - self.known
        return self.joined and not self.complete and self.drawn < self.cap and begun <= self._hop + _DRAWN_AHEAD

    @property
    def can_render(self) -> bool:
        """Whether a hop can be made. One token beyond it is known, so that a last hop is never taken for another."""
        return not self.rendered and (self.complete or len(self.tokens) > self._hop)

    def drew(self, token: int) -> None:
        """A draw has come back. What comes after the stop mark is no token of this stream."""
        if self.complete:
            return
        self.known += 1
        if token < SPEECH_TOKENS:
            self.tokens.append(token)
        if token == STOP_TOKEN or self.known == self.cap:
            self.complete = True
            self.tokens += [SILENCE_TOKEN] * 3  # as upstream ends every utterance

    def take_hop(self) -> tuple[list[int], bool]:
        """The tokens of the next hop, and whether it is the last."""
        last = self.complete and len(self.tokens) <= self._hop
        taken = self.tokens if last else self.tokens[: self._hop]
        self.tokens = self.tokens[len(taken) :]
        self.hops += 1
        self.rendered = last
        return taken, last

    def heard(self, seconds: float, now: float) -> bool:
        """Audio of so many seconds has left. True: the caller's playout had run dry before."""
        if seconds == 0.0:
            return False
        dry = self.started and now > self.due
        self.due = max(self.due if self.started else now, now) + seconds
        self.started = True
        return dry

    @property
    def _hop(self) -> int:
        return _HOPS[min(self.hops, len(_HOPS) - 1)]
