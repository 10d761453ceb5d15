"""What the language model is asked: how much of a conversation it is shown, so that it never outgrows what it can read.

Pure. Source of the rule: `truncation` of OpenAI Realtime. Once the conversation exceeds the limit, the oldest items are
left out until a fraction of the limit is used; they stay left out, so that the next requests begin alike and the
model's prompt cache holds. The items themselves stay in the history.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.conversation.config import ResponseConfig, Truncation
from server.conversation.history import History, Item, Message, chat_message, chat_messages
from server.llm.interface import ChatMessage, ChatRequest, Memo, Tool, UserText
from server.llm.shortening import left_out, message_tokens, text_tokens

# No way of counting differs from the estimate by more; a provider that seems to does not count all of the request.
_SCALES = (0.25, 8.0)
# Of what a provider has just refused as too long, so much is taken to fit.
_LESS = 0.9


@dataclass(frozen=True, slots=True)
class _Shown:
    """An item as the model is shown it, and the size of that; `text` is the item's own."""

    item_id: str
    text: str
    message: ChatMessage
    size: int


@dataclass(slots=True)
class Requested:
    """What the model is asked for one answer.

    `shown` are the items of the conversation in it, `estimate` is the size of all of it (0: it shows something else),
    and `left_out` how many more items are left out from now on.
    """

    request: ChatRequest
    shown: Sequence[_Shown] = ()
    estimate: float = 0.0
    left_out: int = 0


class Context:
    """What of a conversation goes to the model. Tokens are estimated, by a scale that the provider's counts correct."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many tokens the model can read: instructions, tools and conversation."""
        self._limit = float(limit)
        self._scale = 1.0
        self._gone: set[str] = set()
        self._known: dict[str, _Shown] = {}
        self._fixed: tuple[str, Sequence[Tool], int] = ("", (), 0)  # instructions and tools, and their size
        self._memo = Memo()

    def request(
        self,
        config: ResponseConfig,
        truncation: Truncation | None,
        history: History,
        asides: Iterable[ChatMessage],
    ) -> Requested:
        """For an answer to the conversation. Without `truncation` no items are left out."""
        shown = self._all_shown(history)
        fixed = self._size_of_fixed(config.instructions, config.tools)
        gone: frozenset[int] = frozenset()
        if truncation:
            room = self._room(truncation, fixed)
            size = sum(item.size for item in shown)
            if size > room:
                gone = left_out([item.message for item in shown], size - truncation.retention * room)
        self._gone.update(shown[index].item_id for index in gone)
        shown = [item for index, item in enumerate(shown) if index not in gone]
        messages = [*(item.message for item in shown), *asides]
        request = _request(config, truncation, messages, self._memo)
        return Requested(request, shown, fixed + sum(item.size for item in shown), len(gone))

    def expected(
        self, config: ResponseConfig, truncation: Truncation | None, history: History, words: str
    ) -> tuple[ChatRequest, int] | None:
        """What the request will be if the caller's next turn is `words`, and how many tokens, about.

        None where items would have to be left out.
        """
        shown, further = self._all_shown(history), UserText(words)
        fixed = self._size_of_fixed(config.instructions, config.tools)
        size = sum(item.size for item in shown) + message_tokens(further)
        if truncation and size > self._room(truncation, fixed):
            return None
        messages = [*(item.message for item in shown), further]
        return _request(config, truncation, messages, self._memo), round(self._scale * (fixed + size))

    def other_request(
        self,
        config: ResponseConfig,
        truncation: Truncation | None,
        items: Iterable[Item],
        asides: Iterable[ChatMessage],
    ) -> Requested:
        """For an answer to all of these items, which are not the conversation."""
        return Requested(_request(config, truncation, [*chat_messages(items), *asides], Memo()))

    def counted(self, requested: Requested, input_tokens: int) -> None:
        """The provider counted so many tokens in a request."""
        if input_tokens > 0 and requested.estimate > 0:
            least, most = _SCALES
            self._scale = min(max(least, input_tokens / requested.estimate), most)

    def refused(self, requested: Requested, gone: frozenset[int]) -> None:
        """A request was too long for the model, which answers one without the messages at `gone`."""
        if not requested.shown:
            return
        self._limit = min(self._limit, _LESS * self._scale * requested.estimate)
        left_out = [item for index, item in enumerate(requested.shown) if index in gone]
        self._gone.update(item.item_id for item in left_out)
        requested.estimate -= sum(item.size for item in left_out)

    def shows(self, item: Item) -> bool:
        """Whether the item is among those that have not been left out for good."""
        return item.id not in self._gone

    def _all_shown(self, history: History) -> "list[_Shown]":
        shown = [known for item in history if self.shows(item) and (known := self._shown(item))]
        self._gone = {item_id for item_id in self._gone if item_id in history}
        self._known = {item.item_id: item for item in shown}  # of what was deleted nothing is kept
        return shown

    def _room(self, truncation: Truncation, fixed: int) -> float:
        """The most that items may take beside instructions and tools."""
        room = self._limit / self._scale - fixed
        if truncation.post_instructions is None:
            return room
        return min(room, truncation.post_instructions / self._scale)

    def _shown(self, item: Item) -> "_Shown | None":
        """The item as it is shown; made anew only when it says something else."""
        known = self._known.get(item.id)
        if known and isinstance(item, Message) and known.text == item.text:
            return known
        message = chat_message(item)
        if message is None:
            return None
        if known is None or known.message != message:
            text = item.text if isinstance(item, Message) else ""
            known = _Shown(item.id, text, message, message_tokens(message))
        return known

    def _size_of_fixed(self, instructions: str, tools: Sequence[Tool]) -> int:
        if self._fixed[:2] != (instructions, tools):
            texts = [instructions, *(f"{tool.name}{tool.description}{tool.parameters}" for tool in tools)]
            self._fixed = instructions, tools, sum(map(text_tokens, texts))
        return self._fixed[2]


def _request(
    config: ResponseConfig, truncation: Truncation | None, messages: Sequence[ChatMessage], memo: Memo
) -> ChatRequest:
    return ChatRequest(
        instructions=config.instructions,
        messages=messages,
        tools=config.tools,
        tool_choice=config.tool_choice,
        max_output_tokens=config.max_output_tokens,
        temperature=config.temperature,
        parallel_tool_calls=config.parallel_tool_calls,
        reasoning_effort=config.reasoning_effort,
        may_be_shortened=truncation is not None,
        memo=memo,
    )
