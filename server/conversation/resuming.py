"""From a conversation to its snapshot, and back on a connection where nothing has been said yet.

Pure. The caller heard of the assistant's last words only what the client played before the line was lost; so history is
cut to that, and the rest is said again.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from server.conversation.context import Context
from server.conversation.history import FunctionCall, FunctionCallOutput, History, Item, Message
from server.conversation.playback import Playback
from server.conversation.snapshot import Answering, Snapshot, Speech, restored, saved_items
from server.conversation.spoken import Spoken
from server.llm.interface import Usage


@dataclass(frozen=True, slots=True)
class Played:
    """The client has played the first `seconds` of the spoken item `item_id`, all before it and nothing after it."""

    item_id: str
    seconds: float


def take_snapshot(
    history: History, context: Context, playback: Playback, usage: Usage, answering: Answering, now: float
) -> Snapshot:
    """The conversation as it stands, without what the language model is not shown any more."""
    items = [item for item in history if context.shows(item) and _is_kept(item, playback)]
    kept = {item.id for item in items}
    speech = tuple(
        Speech(item_id, playback.clauses(item_id), playback.heard(item_id, now))
        for item_id in playback.latest(now)
        if item_id in kept
    )
    return Snapshot(saved_items(items), speech, usage, answering)


def _is_kept(item: Item, playback: Playback) -> bool:
    """Text that is being written is written again: its reader loses nothing."""
    return not (isinstance(item, Message) and item.status == "in_progress") or playback.knows(item.id)


def put_back(
    snapshot: Snapshot, history: History, playback: Playback, spoken: Spoken, played: Played | None, now: float
) -> bool:
    """Fill `history` and `playback`, which are empty; whether the caller missed something of what was said to them.

    Without `played`, they heard what the client is reckoned to have played when the snapshot was taken.
    """
    for item in map(restored, snapshot.items):
        if item.status == "in_progress":
            item.status = "incomplete"
        history.insert(item)
    missed = False
    for speech, heard in _heard(snapshot.speech, played):
        message = history.get(speech.item_id)
        assert isinstance(message, Message), "only messages are spoken"
        whole = " ".join(text for text, _ in speech.clauses)
        playback.restore(message.id, speech.clauses)
        spoken.truncate(message.id, 0, heard, now)
        if message.text == whole.strip():
            continue
        missed = True
        message.status = "incomplete"
        if not message.text:
            history.delete(message.id)
            playback.forget(message.id)
    return missed


def _heard(speeches: tuple[Speech, ...], played: Played | None) -> Iterator[tuple[Speech, float]]:
    """How many seconds of each the caller heard. One that the snapshot does not know was spoken after all of them."""
    known = [speech.item_id for speech in speeches]
    last = known.index(played.item_id) if played and played.item_id in known else len(known)
    for index, speech in enumerate(speeches):
        if played is None:
            yield speech, speech.heard
        elif index == last:
            yield speech, played.seconds
        else:
            yield speech, math.inf if index < last else 0.0


def open_calls(history: History) -> list[FunctionCall]:
    """The functions called since the caller's last words that have no result yet."""
    calls: dict[str, FunctionCall] = {}
    for item in history:
        match item:
            case Message(role="user"):
                calls.clear()
            case FunctionCall():
                calls[item.call_id] = item
            case FunctionCallOutput():
                calls.pop(item.call_id, None)
    return list(calls.values())
