"""The assistant's spoken messages: history keeps of each what the caller heard, and no word more.

Pure. Joins the items of a conversation to their playback; whoever knows that playback ended early says so here.
"""

import math

from server.conversation.commands import GoesOn
from server.conversation.errors import NotTruncatable
from server.conversation.history import History, Item, Message
from server.conversation.playback import Playback
from server.conversation.response import Response


class Spoken:
    """The messages in `history` that `playback` knows. `now` is monotonic seconds."""

    def __init__(self, history: History, playback: Playback) -> None:
        self._history = history
        self._playback = playback

    def truncate(self, item_id: str, content_index: int, heard: float, now: float) -> None:
        """The client says that the caller heard only the first `heard` seconds of the item, and hears no more.

        A time past the end of the audio, or past that of an earlier cut, cuts nothing. Raises `ItemNotFound` or
        `NotTruncatable`.
        """
        item = self._history.get(item_id)
        if not isinstance(item, Message) or not self._playback.knows(item_id):
            raise NotTruncatable(f"item {item_id!r} was not spoken; only the assistant's audio can be cut", "item_id")
        if content_index != 0:
            raise NotTruncatable(f"item {item_id!r} has one part; content_index takes 0", "content_index")
        self._playback.truncate(item_id, heard, now)
        self._keep(item, heard)

    def silence(self, now: float) -> None:
        """The client plays nothing any more of what it has been sent."""
        for item_id in self._playback.unfinished(now):
            item = self._history.get(item_id)
            assert isinstance(item, Message), "only messages are spoken"
            self._keep(item, self._playback.heard(item_id, now))
            item.status = "incomplete"
        self._playback.cut(now)

    def had_effect(self, response: Response, now: float) -> bool:
        """Whether the caller heard any of the response, or the application was told to run a function."""
        return response.calls or any(
            self._playback.knows(item.id) and self._playback.heard(item.id, now) > 0 for item in response.output
        )

    def rest(self, response: Response) -> GoesOn | None:
        """From where an answer of one spoken message, which was broken off, would go on."""
        if not response.config.in_conversation or response.config.modality != "audio":
            return None
        match response.output:
            case []:
                return GoesOn(response.id, 0.0, "")
            case [Message() as message] if message.id in self._history and self._playback.knows(message.id):
                heard = self._playback.heard(message.id, math.inf)
                return GoesOn(response.id, heard, message.parts[0].text or "")
        return None

    def end(self, message: Message, broken_off: bool) -> None:
        """No more of the message is spoken; of a clause that was broken off, history keeps what was sent."""
        if not self._playback.knows(message.id):
            return
        if broken_off:
            self._keep(message, self._playback.sent(message.id))
        else:
            self._playback.finish(message.id)

    def forget(self, items: list[Item]) -> None:
        """The response that the items belong to is over: nobody can ask again for those that history does not hold."""
        for item in items:
            if item.id not in self._history:
                self._playback.forget(item.id)

    def _keep(self, message: Message, heard: float) -> None:
        message.parts[0].text = self._playback.text(message.id, heard).strip()
        self._history.measure(message)
