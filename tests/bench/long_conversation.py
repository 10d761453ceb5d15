"""What one event of a client costs the event loop, in conversations of different lengths: it should cost the same.

`python -m tests.bench.long_conversation`. No sockets and no models: the dialect, the conversation, and the request that
goes to a language model, as each event of each client passes through them on the one event loop of all calls.
"""

import json
import time
from collections.abc import Callable, Iterable
from itertools import count
from typing import Annotated, Any

import msgspec
import typer

from server.conversation.commands import Generate
from server.conversation.conversation import Conversation
from server.conversation.events import ResponseDone
from server.dialects.dialect import AudioReceived
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import Session
from server.llm.chat_completions import request_body
from server.llm.interface import Finished, Usage
from tests.bench.markdown import table

_WORDS = "I would like to change my booking to the evening of the twelfth, if there is a table left. "
_TOOLS = [
    {
        "type": "function",
        "name": f"tool_{number}",
        "description": _WORDS,
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}, "day": {"type": "string"}}},
    }
    for number in range(100)
]


class _Call:
    """A client's side of a conversation of `items` items."""

    def __init__(self, items: int) -> None:
        numbers = count()
        session = Session(id="sess", model="m", instructions=_WORDS)
        self.conversation = Conversation(
            session.config(), lambda prefix: f"{prefix}_{next(numbers)}", context_tokens=1_000_000
        )
        self.dialect = OpenAiDialect(session, self.conversation, lambda prefix: f"{prefix}_{next(numbers)}")
        self.send("session.update", session={"type": "realtime", "tools": _TOOLS, "output_modalities": ["text"]})
        for number in range(items):
            self.create(number)

    def create(self, number: int) -> None:
        """A new item at the end."""
        role, kind = ("user", "input_text") if number % 2 == 0 else ("assistant", "output_text")
        content = [{"type": kind, "text": f"{number} {_WORDS}"}]
        item = {"type": "message", "id": f"said_{number}", "role": role, "content": content}
        self.send("conversation.item.create", item=item)

    def send(self, name: str, **fields: Any) -> None:
        """One event, with all that is told the client of it, and for an answer the language model's request."""
        for output in self.dialect.receive(json.dumps({"type": name, **fields}), 0.0):
            if isinstance(output, Generate):
                msgspec.json.encode(request_body("model", output.request))
                for done in self.conversation.finish(output.response.id, Finished("stop", Usage(100, 10)), 0.0):
                    if isinstance(done, ResponseDone):
                        self.dialect.encode(done)
            elif isinstance(output, AudioReceived):
                self.conversation.append_audio(output.audio)
            else:
                for message in self.dialect.encode(output):  # type: ignore[arg-type]  # no other command comes
                    assert b'"type":"error"' not in message.data, message


def _events(call: _Call, items: int) -> dict[str, Callable[[int], None]]:
    """One event of each kind; the number of the try makes each a new one."""
    audio = "AAAA" * 160
    return {
        "input_audio_buffer.append, 10 ms": lambda _: call.send("input_audio_buffer.append", audio=audio),
        "conversation.item.create": lambda n: call.create(2 * items + n),
        "conversation.item.create, first": lambda n: call.send(
            "conversation.item.create",
            previous_item_id="root",
            item={"type": "message", "id": f"first_{n}", "role": "user", "content": []},
        ),
        "conversation.item.retrieve, oldest": lambda _: call.send("conversation.item.retrieve", item_id="said_0"),
        "conversation.item.delete, early": lambda n: call.send("conversation.item.delete", item_id=f"said_{n + 1}"),
        "session.update, one word": lambda n: call.send(
            "session.update", session={"type": "realtime", "max_output_tokens": 1 + n}
        ),
        "response.create, of one item": lambda _: call.send(
            "response.create",
            response={"conversation": "none", "input": [{"type": "item_reference", "id": f"said_{items - 1}"}]},
        ),
        "a typed turn: item and response.create": lambda n: _typed_turn(call, 4 * items + 2 * n),
    }


def _typed_turn(call: _Call, number: int) -> None:
    call.create(number)
    call.send("response.create")


def measure(items: int, tries: int) -> dict[str, float]:
    """Microseconds of each kind of event, the median of `tries`."""
    call = _Call(items)
    costs = {}
    for name, event in _events(call, items).items():
        seconds = []
        for number in range(min(tries, items // 2)):
            started = time.perf_counter()
            event(number)
            seconds.append(time.perf_counter() - started)
        costs[name] = sorted(seconds)[len(seconds) // 2] * 1e6
    return costs


def main(
    items: Annotated[list[int] | None, typer.Option(help="Items of the conversation; several are compared.")] = None,
    tries: Annotated[int, typer.Option(min=1, max=1000, help="Events of each kind.")] = 100,
) -> None:
    """Measure what one event costs in a short and in a long conversation."""
    lengths = items or [20, 200, 2000]
    measured = [measure(length, tries) for length in lengths]
    print(report(lengths, measured), end="")


def report(lengths: Iterable[int], measured: list[dict[str, float]]) -> str:
    """The costs, a column for each length."""
    rows = [(name, *(f"{costs[name]:,.0f}" for costs in measured)) for name in measured[0]]
    return table(("µs of one event", *(f"{length:,} items" for length in lengths)), rows)


if __name__ == "__main__":
    typer.run(main)
