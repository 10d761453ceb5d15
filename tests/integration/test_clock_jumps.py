"""The node's wall clock jumps under live calls (libfaketime): timers are monotonic, and tokens allow a minute."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.access.auth import mint_token
from tests.support.live_call import live_call, refusal, serves
from tests.support.node import NodeProcess, running_node

pytestmark = pytest.mark.needs("faketime")

SECRET = "a-secret-of-more-than-thirty-two-bytes"
IDLE = 2.0
DAY = 86_400

Jump = Callable[[float], None]


@pytest.fixture(scope="module")
def offset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By how much the node's wall clock is ahead, in a file that it reads each time."""
    return tmp_path_factory.mktemp("clock") / "offset"


@pytest.fixture(scope="module")
def shifted(quick: dict[str, str], offset: Path) -> Iterator[NodeProcess]:
    """A node whose wall clock is the test's to set. Its monotonic clock is the machine's, as it is where ntpd jumps."""
    offset.write_text("+0")
    library = subprocess.check_output(["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"], text=True).strip()
    clock = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with running_node(**quick, **clock, VOICE_TOKEN_SECRET=SECRET, VOICE_MAX_IDLE_SECONDS=str(IDLE)) as running:
        yield running


@pytest.fixture
def jump(offset: Path) -> Iterator[Jump]:
    """Sets the node's wall clock to so many seconds ahead of the test's."""

    def set_ahead(seconds: float) -> None:
        offset.write_text(f"{seconds:+g}")

    yield set_ahead
    set_ahead(0)


def token(seconds: float = 3600.0) -> dict[str, str]:
    """A token that the test's clock has made."""
    return {"Authorization": f"Bearer {mint_token(SECRET, 'web', seconds, time.time())}"}


@pytest.mark.parametrize(("ahead", "accepted"), [(50, True), (-50, True), (75, False), (-75, False)])
async def test_a_token_may_come_from_a_clock_that_differs_by_a_minute(
    shifted: NodeProcess, jump: Jump, ahead: float, accepted: bool
) -> None:
    jump(ahead)
    brief = token(1.0)
    if accepted:
        assert await serves(shifted.websocket, additional_headers=brief)
    else:
        assert (await refusal(shifted.websocket, headers=brief)).status_code == 401


@pytest.mark.parametrize("seconds", [DAY, -DAY], ids=["ahead", "back"])
async def test_a_jump_of_a_day_neither_cuts_a_call_nor_makes_it_last(
    shifted: NodeProcess, jump: Jump, seconds: float
) -> None:
    async with live_call(shifted.websocket, additional_headers=token()) as call:
        await call.type("one two three")
        await call.until("response.output_audio.delta")
        jump(seconds)
        assert (await call.until("response.done"))["response"]["status"] == "completed"
        assert (await call.turn("and again"))["status"] == "completed"
        assert await call.closed() == 1000
        assert call.connection.close_reason == "idle"
