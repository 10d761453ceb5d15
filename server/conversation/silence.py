"""What the assistant says of its own accord once nobody has spoken for a while.

Pure. Two silences are not alike: in one the caller has been answered and says nothing; in the other they wait for a
function that the application runs, and for who hears nothing meanwhile the line may as well be dead.
"""

from server.conversation.asked import Asked, spoken_aside
from server.conversation.history import FunctionCall, FunctionCallOutput, History
from server.conversation.response import Response


class Silence:
    """Since when nobody has spoken, and what for. `now` is monotonic seconds."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._since = 0.0
        self._called: Response | None = None
        self.idle = False
        """Whether it is the caller's turn, who has said nothing since they were answered."""

    def answer_begins(self, in_conversation: bool) -> None:
        """Something is said to the caller, or about to be."""
        self.idle = False
        if in_conversation:
            self._called = None

    def answer_ends(self, response: Response, now: float) -> None:
        """It has been said, as far as the client was sent it, or functions were called for it."""
        self.idle, self._since = True, now
        config = response.config
        if response.calls and config.in_conversation and config.modality == "audio" and config.tool_filler:
            self._called = response

    def caller_spoke(self, now: float) -> None:
        """The caller said words. A sound without words says nothing of whether they are there."""
        self.idle, self._since = False, now

    def something_was_said(self, now: float) -> None:
        """Whether it had words will not be known."""
        self._since = now

    def seconds(self, now: float, played_until: float) -> float:
        """How long it has lasted; what the client has been sent is played until `played_until`."""
        return now - max(self._since, played_until)

    def filler(self, seconds: float) -> Asked | None:
        """What is to be said after so many seconds, once for all the functions that an answer called."""
        called = self._called
        filler = called.config.tool_filler if called else None
        if called is None or filler is None or seconds < filler.after:
            return None
        self._called = None
        if not self._awaited(called):
            return None
        return Asked(spoken_aside(called.config), (), words=filler.text, filler=True)

    def _awaited(self, response: Response) -> bool:
        """Whether a function that the response called, and that still stands in the conversation, has no result."""
        calls = [item for item in response.output if isinstance(item, FunctionCall) and item.id in self._history]
        if not calls:
            return False
        later = self._history.after(calls[0].id)
        results = {item.call_id for item in later if isinstance(item, FunctionCallOutput)}
        return any(call.call_id not in results for call in calls)
