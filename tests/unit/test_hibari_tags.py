"""The CPU voice knows no tags and must not read them aloud."""

from contextlib import aclosing

import pytest

from server.workers.engine import Unspeakable
from tests.support.speech import voice


async def _say(text: str) -> bytes:
    async with aclosing(voice().synthesize(text, "", 1.0)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_it_says_the_text_as_if_the_tags_were_not_there() -> None:
    assert await _say("[clear throat] That is [laugh] funny.") == await _say("That is funny.")


async def test_a_lone_tag_is_nothing_to_speak() -> None:
    with pytest.raises(Unspeakable):
        await _say("[laugh]")
