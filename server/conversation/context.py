"""How much of a conversation the language model is shown, so that it never outgrows what the model can read.

Pure. Source of the rule: `truncation` of OpenAI Realtime. Once the conversation exceeds the limit, the oldest items are
left out until a fraction of the limit is used; they stay left out, so that the next requests begin alike and the
model's prompt cache holds. The items themselves stay in the history.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.conversation.history import Item, chat_message
from server.llm.interface import ChatMessage, Tool
from server.llm.shortening import left_out, message_tokens, text_tokens

# No way of counting differs from the estimate by more; a provider that seems to does not count all of the request.
_SCALES = (0.25, 8.0)
# Of what a provider has just refused as too long, so much is taken to fit.
_LESS = 0.9


@dataclass(frozen=True, slots=True)
class Truncation:
    """When the oldest items are left out, and how many.

    `post_instructions` is the most tokens of the conversation after instructions and tools (None: what the model can
    read), `retention` the fraction of it that is kept when it is exceeded. Less than all, so that the model's prompt
    cache is spoiled once in a while and not with every turn.
    """

    post_instructions: int | None = None
    retention: float = 0.8


class Context:
    """What of a conversation goes to the model. Tokens are estimated, by a scale that the provider's counts correct."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many tokens the model can read: instructions, tools and conversation."""
        self._limit = float(limit)
        self._scale = 1.0
        self._gone: set[str] = set()
        self._asked: list[tuple[str, float]] = []  # the items that the last request showed, with their sizes
        self._estimate = 0.0  # size of all of that request; 0 if it showed something else

    def shown(
        self, items: Iterable[Item], instructions: str, tools: Sequence[Tool], truncation: Truncation | None
    ) -> tuple[list[ChatMessage], int]:
        """The messages to show, and how many that were shown before are left out now; without `truncation` none."""
        pairs = [(item.id, message) for item in items if item.id not in self._gone and (message := chat_message(item))]
        fixed = text_tokens(instructions) + sum(_tool_tokens(tool) for tool in tools)
        gone: frozenset[int] = frozenset()
        if truncation:
            room = self._limit / self._scale - fixed
            if truncation.post_instructions is not None:
                room = min(room, truncation.post_instructions / self._scale)
            size = sum(message_tokens(message) for _, message in pairs)
            if size > room:
                gone = left_out([message for _, message in pairs], size - truncation.retention * room)
        self._gone.update(pairs[index][0] for index in gone)
        kept = [pair for index, pair in enumerate(pairs) if index not in gone]
        self._asked = [(item_id, message_tokens(message)) for item_id, message in kept]
        self._estimate = fixed + sum(size for _, size in self._asked)
        return [message for _, message in kept], len(gone)

    def other_request(self) -> None:
        """The next request shows the model something else than the conversation."""
        self._asked, self._estimate = [], 0.0

    def counted(self, input_tokens: int) -> None:
        """The provider counted so many tokens in the last request."""
        if input_tokens > 0 and self._estimate > 0:
            least, most = _SCALES
            self._scale = min(max(least, input_tokens / self._estimate), most)

    def refused(self, gone: frozenset[int]) -> None:
        """The last request was too long for the model, which answers one without the messages at `gone`."""
        if not self._asked:
            return
        self._limit = min(self._limit, _LESS * self._scale * self._estimate)
        left_out = [asked for index, asked in enumerate(self._asked) if index in gone]
        self._gone.update(item_id for item_id, _ in left_out)
        self._estimate -= sum(size for _, size in left_out)


def _tool_tokens(tool: Tool) -> int:
    return text_tokens(f"{tool.name}{tool.description}{tool.parameters}")
