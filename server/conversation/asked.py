"""What an answer is an answer to, and what the assistant is told where it speaks of its own accord."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from server.conversation.config import ResponseConfig
from server.conversation.history import Item
from server.conversation.response import Response
from server.llm.interface import ChatMessage, SystemText

STILL_THERE = SystemText("The caller has been silent for a while. Ask briefly whether they are still there.")
GOODBYE = SystemText("The call ends now. Say a short goodbye to the caller, and ask nothing.")
_GO_ON = SystemText(
    "Your last answer was cut off by accident, and the caller heard it just as far as it stands here. Say the rest of "
    "it: go on with the next word. Repeat nothing, and say nothing about the accident."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a response answers. Data, and no bound method: a call that has ended is freed at once, with all it held.

    `asides` follow the items; `unasked`: nobody wants this answer, the assistant speaks of its own accord. `words` are
    the answer itself, where it needs no model; a `filler` only fills the time until an answer that the application asks
    for. `rest_of` is an answer to this that was broken off.
    """

    config: ResponseConfig
    items: Iterable[Item]
    asides: tuple[ChatMessage, ...] = ()
    unasked: bool = False
    words: str = ""
    filler: bool = False
    rest_of: Response | None = None

    def going_on(self) -> "Asked":
        """For the rest of the answer that was begun to this."""
        return replace(self, asides=(*(aside for aside in self.asides if aside is not _GO_ON), _GO_ON))


def spoken_aside(config: ResponseConfig) -> ResponseConfig:
    """How words are spoken that need no model, in an answer of their own."""
    return replace(config, tools=(), tool_choice="none", metadata=None, tool_filler=None)
