"""The attackers: callers with a valid key, each a small function that says in its first line what it sends.

`python -m tests.bench.attacks.attackers NAME --url ws://... --key KEY` runs one and prints as JSON what it was told. A
process of its own, so that what it does costs the node and not the caller beside it.
"""

import argparse
import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from websockets import ConnectionClosed, InvalidStatus

from tests.bench.attacks.attacker import QUIET_SECONDS, Attacker
from tests.support.live_call import frame, handshake

SECONDS = 5.0
RECOGNISED_SECONDS = 15.0
"""No attack lasts longer, but those on recognition: in that time the caller beside them speaks at least once."""

_BIG = "word " * 180_000  # 900 KB
_PCMU = {"type": "audio/pcmu"}
_BY_HAND = {"input": {"format": _PCMU, "turn_detection": None}}
_CONTINUATION, _TEXT, _PING = 0, 1, 9


async def nothing(attacker: Attacker) -> None:
    """Nobody attacks: what the others' figures are to be compared with."""
    await asyncio.sleep(SECONDS * attacker.scale)


async def references_300(attacker: Attacker) -> None:
    """One item of 900 KB, then an answer to 300 references to it."""
    await _refer(attacker, 300)


async def references_message(attacker: Attacker) -> None:
    """One item of 900 KB, then an answer to as many references to it as a message holds: 20,000."""
    await _refer(attacker, 20_000)


async def _refer(attacker: Attacker, count: int) -> None:
    async with attacker.call() as line:
        await line.add(_text(_BIG), id="big")
        references = [{"type": "item_reference", "id": "big"}] * count
        await line.send("response.create", response={"input": references, "output_modalities": ["text"]})


async def retrieves(attacker: Attacker) -> None:
    """140 retrieves of an item with 20,000 parts, in one go."""
    async with attacker.call() as line:
        await line.add(*[_text("x")] * 20_000, id="parts")
        for _ in attacker.times(140):
            await line.send("conversation.item.retrieve", item_id="parts")


async def tools(attacker: Attacker) -> None:
    """Thousands of tools, then 200 session.updates of a few bytes."""
    async with attacker.call() as line:
        await line.update(tools=[{"type": "function", "name": f"f{number}"} for number in range(20_000)])
        for _ in attacker.times(200):
            await line.update()


async def big_updates(attacker: Attacker) -> None:
    """63 session.updates of 1 MB."""
    async with attacker.call() as line:
        for _ in attacker.times(63):
            await line.update(instructions="word " * 200_000)


async def empty_appends(attacker: Attacker) -> None:
    """200,000 appends of no audio."""
    async with attacker.call() as line:
        for _ in attacker.times(200_000):
            await line.send("input_audio_buffer.append", audio="")


async def small_events(attacker: Attacker) -> None:
    """50,000 events that are each answered: clear the empty buffer."""
    async with attacker.call() as line:
        for _ in attacker.times(50_000):
            await line.send("input_audio_buffer.clear")


async def unread_pings(attacker: Attacker) -> None:
    """200,000 pings of 125 bytes whose pongs are not read."""
    async with attacker.call() as line:
        transport = line.connection.transport
        transport.pause_reading()
        pings = frame(_PING, bytes(125)) * 100
        for _ in attacker.times(2000):
            transport.write(pings)
            while transport.get_write_buffer_size() > len(pings):  # noqa: ASYNC110  # asyncio has no event for it
                await asyncio.sleep(0.001)
        transport.resume_reading()


async def item_audio(attacker: Attacker) -> None:
    """115 items with 30 s of audio each, to be recognised."""
    audio = b64encode(b"\x80\x00" * 120_000).decode()
    async with attacker.call() as line:
        await line.update(audio=_BY_HAND)
        for _ in attacker.times(115):
            await line.add({"type": "input_audio", "audio": audio})


async def commits(attacker: Attacker) -> None:
    """In four calls 35 times a second 100 ms of audio and a commit: within the allowance for audio, all recognised."""
    audio = b64encode(b"\x80\x00" * 400).decode()

    async def commit() -> None:
        async with attacker.call() as line:
            await line.update(audio=_BY_HAND)
            for _ in attacker.times(round(35 * RECOGNISED_SECONDS)):
                await line.send("input_audio_buffer.append", audio=audio)
                await line.send("input_audio_buffer.commit")
                await asyncio.sleep(1 / 35)

    await asyncio.gather(*(commit() for _ in range(4)))


async def prompts(attacker: Attacker) -> None:
    """A transcription prompt of 900 KB, then ten turns of 1 s."""
    audio = b64encode(b"\x80\x00" * 4000).decode()
    async with attacker.call() as line:
        await line.update(audio={"input": {**_BY_HAND["input"], "transcription": {"model": "any", "prompt": _BIG}}})
        for _ in attacker.times(10):
            await line.send("input_audio_buffer.append", audio=audio)
            await line.send("input_audio_buffer.commit")


async def big_items(attacker: Attacker) -> None:
    """300 items of 900 KB, which stay in the conversation."""
    async with attacker.call() as line:
        for _ in attacker.times(300):
            await line.add(_text(_BIG))


async def burst(attacker: Attacker) -> None:
    """200 small items in one go, from an honest client that reads: none may be refused."""
    async with attacker.call() as line:
        for number in range(200):
            await line.add(_text(f"line {number}"))


async def deep_json(attacker: Attacker) -> None:
    """Nested JSON of every depth and fields of wrong types."""
    async with attacker.call() as line:
        for depth in range(20, 2000, 20):
            nest = "[" * depth + "]" * depth
            await line.connection.send(f'{{"type": "session.update", "session": {nest}}}')
            await line.connection.send(f'{{"type": {nest}, "event_id": {nest}}}')
            await line.connection.send(f'{{"event_id": {nest}, "type": "response.create", "response": 5}}')


async def answers(attacker: Attacker) -> None:
    """10,000 answers asked for and cancelled at once."""
    async with attacker.call() as line:
        await line.add(_text("hello"))
        for _ in attacker.times(10_000):
            await line.send("response.create")
            await line.send("response.cancel")


async def deletes(attacker: Attacker) -> None:
    """10,000 items put at the front and deleted again."""
    async with attacker.call() as line:
        for number in attacker.times(10_000):
            await line.add(_text("x"), id=f"i{number}")
            await line.send("conversation.item.delete", item_id=f"i{number}")


async def fragments(attacker: Attacker) -> None:
    """A message in 200,000 fragments of a byte."""
    async with attacker.call() as line:
        transport = line.connection.transport
        transport.write(frame(_TEXT, b" ", fin=False))
        pieces = frame(_CONTINUATION, b" ", fin=False) * 1000
        for _ in attacker.times(200):
            if line.open:
                transport.write(pieces)
                await asyncio.sleep(0.005)


async def churn(attacker: Attacker) -> None:
    """500 calls that are hung up at once."""
    for _ in attacker.times(500):
        async with attacker.call() as line:
            await line.connection.close()


async def model_blanks(attacker: Attacker) -> None:
    """Has the model write blanks and nothing else."""
    await _ask(attacker, "write blanks")


async def model_letters(attacker: Attacker) -> None:
    """Has the model write 20 KB of "a a a"."""
    await _ask(attacker, "write letters")


async def model_brackets(attacker: Attacker) -> None:
    """Has the model write 20 KB of "["."""
    await _ask(attacker, "write brackets")


async def model_run_on(attacker: Attacker) -> None:
    """Has the model write 20 KB without a space."""
    await _ask(attacker, "write without spaces")


async def model_arguments(attacker: Attacker) -> None:
    """Has the model call a function with 64 KB of arguments."""
    await _ask(attacker, "call with arguments", tools=[{"type": "function", "name": "look_up"}])


async def _ask(attacker: Attacker, words: str, **response: Any) -> None:
    async with attacker.call() as line:
        await line.add(_text(words))
        await line.send("response.create", response=response)


async def wrong_keys(attacker: Attacker) -> None:
    """1,000 handshakes with a wrong key, eight at a time."""

    async def knock() -> None:
        for _ in attacker.times(125):
            with suppress(InvalidStatus):
                async with attacker.call("not-a-key"):
                    pass

    await asyncio.gather(*(knock() for _ in range(8)))


async def slow_handshakes(attacker: Attacker) -> None:
    """1,000 connections with half a handshake, a byte more of it each second."""
    address = urlsplit(attacker.url)
    asked = handshake(attacker.url)[:-2]
    writers = []
    try:
        for _ in attacker.times(1000):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(asked)
            writers.append(writer)
        while True:
            await asyncio.sleep(1.0)
            for writer in writers:
                writer.write(b"x")
    finally:
        for writer in writers:
            writer.transport.abort()


async def storm(attacker: Attacker) -> None:
    """500 callers at once, who all are gone again at once, over and over."""

    async def knock() -> None:
        with suppress(InvalidStatus, OSError):
            async with attacker.call() as line:
                line.connection.transport.abort()

    while True:
        await asyncio.gather(*(knock() for _ in attacker.times(500)))


async def all_places(attacker: Attacker) -> None:
    """One token places 40 calls and holds on to those that it gets."""

    async def hold() -> None:
        with suppress(InvalidStatus):
            async with attacker.call(attacker.token):
                await asyncio.sleep(SECONDS * attacker.scale - 2 * QUIET_SECONDS)

    await asyncio.gather(*(hold() for _ in range(40)))


def _text(text: str) -> dict[str, str]:
    return {"type": "input_text", "text": text}


Attack = Callable[[Attacker], Awaitable[None]]

_ALL: tuple[Attack, ...] = (
    nothing, references_300, references_message, retrieves, tools, big_updates, empty_appends, small_events,
    unread_pings, item_audio, commits, prompts, big_items, burst, deep_json, answers, deletes, fragments, churn,
    model_blanks, model_letters, model_brackets, model_run_on, model_arguments, wrong_keys, slow_handshakes,
    storm, all_places,
)  # fmt: skip
ATTACKS = {attack.__name__: attack for attack in _ALL}
RECOGNISED = frozenset({"nothing", "item_audio", "commits", "prompts"})
"""Those that want the real recogniser, because its time is what they take."""


async def run(name: str, attacker: Attacker, seconds: float) -> None:
    """Attack for `seconds` at most; what the node said is in `attacker.told`."""
    with suppress(TimeoutError, InvalidStatus, ConnectionClosed):
        async with asyncio.timeout(seconds):
            await ATTACKS[name](attacker)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--token", default="")
    options = parser.parse_args()
    attacker = Attacker(options.url, options.key, options.token)
    asyncio.run(run(options.name, attacker, RECOGNISED_SECONDS if options.name in RECOGNISED else SECONDS))
    print(json.dumps(attacker.told))


if __name__ == "__main__":
    main()
