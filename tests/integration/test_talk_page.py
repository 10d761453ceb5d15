"""The talk page in a real browser, whose microphone hears recorded speech, at a real node.

Nothing here depends on how fast the machine is: what interrupts an answer comes early into a long one.
"""

import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import CHROMIUM, Page, chromium
from tests.support.clips import BUNDLED, read_wav
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin, by_rules

pytestmark = pytest.mark.needs(CHROMIUM)

KEY = "vf_visitor.wq0Zk3hVb1"
TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)
BEFORE, BETWEEN = 1.5, 5.0  # seconds of silence before the first recording, and between it and the second
CALLING = "document.querySelector('#call.on') && document.querySelector('#state').textContent !== 'Connecting'"
CONTROLS = ("button", "combobox", "textbox", "meter", "region", "log")


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    """What a person says, and says into the answer to that."""
    first, second = (read_wav(BUNDLED / f"{name}.wav") for name in ("conf-getconfno", "pls-hold-while-try"))
    recording = tmp_path / "microphone.wav"
    with wave.open(str(recording), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(_silence(BEFORE) + first + _silence(BETWEEN) + second + _silence(1.0))
    return recording


@pytest.fixture(scope="module")
def guarded(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node that wants a key."""
    with running_node(**quick, VOICE_API_KEYS=KEY) as running:
        yield running


def _silence(seconds: float) -> bytes:
    return bytes(2 * round(16_000 * seconds))


async def texts(page: Page, selector: str) -> list[str]:
    """What the elements say, in their order."""
    found: list[str] = await page.evaluate(f"[...document.querySelectorAll('{selector}')].map(e => e.textContent)")
    return found


async def named(page: Page) -> dict[str, list[str]]:
    """The names by which a screen reader knows the controls and regions, by their role."""
    nodes: list[dict[str, Any]] = (await page.send("Accessibility.getFullAXTree"))["nodes"]
    shown = [(node["role"]["value"].lower(), node.get("name", {}).get("value", "")) for node in nodes if "role" in node]
    return {role: [name for its, name in shown if its == role] for role in CONTROLS}


async def test_a_person_is_heard_answered_and_may_interrupt(
    node: NodeProcess, answers: OpenAiStandin, microphone: Path
) -> None:
    answers.answer = by_rules({"conference": TALE}, otherwise=lambda _: "All right.")
    async with chromium(microphone=microphone) as browser:
        page = await browser.open(f"{node.http}/talk")
        await page.until("document.querySelector('#state').textContent === 'Ready'")
        await page.click("#call")
        await page.until("document.querySelector('#in').getAttribute('aria-valuenow') > 30")  # of 60 dB
        await page.until("document.querySelector('#out').getAttribute('aria-valuenow') > 30")
        await page.until("document.querySelector('.answer .note').textContent")
        await page.until("document.querySelectorAll('.answer')[1]?.querySelector('svg')")
        await page.until("document.querySelector('#news').textContent.includes('Answer: All right.')")

        said = await texts(page, ".you .words")
        assert "conference number" in said[0]
        assert "hold" in said[1]
        whys = await texts(page, ".you .why")
        assert all(why.startswith("Turn over after ") for why in whys)
        assert "interruption" in "".join(await texts(page, ".aside"))
        assert (await texts(page, ".answer .note"))[0].startswith("Interrupted after ")
        told, unheard = (await texts(page, ".answer .words"))[0], (await texts(page, ".answer del"))[0]
        remembered = answers.requests[-1]["messages"][-2]
        assert remembered == {"role": "assistant", "content": told.removesuffix(unheard)}
        assert TALE.startswith(told)
        pictures = await page.evaluate("[...document.querySelectorAll('svg')].map(e => e.getAttribute('aria-label'))")
        assert all("End of turn" in picture and "First audio" in picture for picture in pictures)

        await page.click("#call")
        await page.until("document.querySelector('#state').textContent === 'Ready'")
        assert page.errors == []


async def test_the_choices_are_the_sessions(node: NodeProcess, microphone: Path) -> None:
    async with chromium(microphone=microphone) as browser:
        page = await browser.open(f"{node.http}/talk")
        await page.until("!document.querySelector('#call').disabled")
        await page.evaluate("document.querySelector('#eagerness').value = 'high'")
        await page.click("#call")
        await page.until(CALLING)
        await page.evaluate(
            "for (const [id, value] of [['voice', 'heart'], ['speculation', 'off']]) {"
            " const select = document.getElementById(id); select.value = value;"
            " select.dispatchEvent(new Event('change', {bubbles: true})) }"
        )
        sessions = [sent["session"] for sent in page.sent if sent["type"] == "session.update"]
    assert [session["audio"]["input"]["turn_detection"]["eagerness"] for session in sessions] == 3 * ["high"]
    assert sessions[-1]["audio"]["output"]["voice"] == "heart"
    assert sessions[-1]["x_speculation"] == "off"


async def test_a_key_opens_the_page_is_kept_nowhere_and_calls(guarded: NodeProcess, microphone: Path) -> None:
    async with chromium(microphone=microphone) as browser:
        page = await browser.open(f"{guarded.http}/talk")
        await page.until("!document.querySelector('#unlock').hidden")
        assert await page.evaluate("document.querySelector('#call').disabled")
        for key, outcome in (("wrong", "!document.querySelector('#problem').hidden"), (KEY, "!call.disabled")):
            await page.evaluate(f"document.querySelector('#key').value = '{key}'")
            await page.click("#unlock button")
            await page.until(outcome)
        await page.until("document.activeElement.id === 'call'")
        await page.press("Enter")
        await page.until(CALLING)
        await page.press("Enter")
        await page.until("document.querySelector('#state').textContent === 'Ready'")
        assert await page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
        assert KEY not in await page.evaluate("document.documentElement.outerHTML + location.href")
        assert all(name for names in (await named(page)).values() for name in names)
    await guarded.until(lambda: guarded.events("session_ended"))
    assert guarded.events("session_started")[0]["principal"] == "vf_visitor"


async def test_it_fits_a_telephone_and_does_as_its_owner_prefers(node: NodeProcess) -> None:
    async with chromium() as browser:
        page = await browser.open(f"{node.http}/talk")
        await page.until("!document.querySelector('#choices').hidden")
        colours = "getComputedStyle(document.body).backgroundColor"
        await page.prefer(color_scheme="light")
        light = await page.evaluate(colours)
        await page.prefer(color_scheme="dark", reduced_motion="reduce")
        assert await page.evaluate(colours) != light
        assert await page.evaluate("getComputedStyle(document.querySelector('#in i')).transitionDuration") == "0s"
        await page.on_a_phone(360, 640)
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        assert await page.evaluate("document.querySelector('#call').getBoundingClientRect().bottom <= innerHeight")
        await page.click("#call")
        await page.until("document.querySelector('#problem').textContent === 'Your browser finds no microphone.'")


async def test_where_browsers_give_no_microphone_the_page_says_so_and_asks_for_no_key(guarded: NodeProcess) -> None:
    async with chromium("--host-resolver-rules=MAP node.example 127.0.0.1") as browser:
        page = await browser.open(guarded.http.replace("127.0.0.1", "node.example") + "/talk")
        await page.until("!document.querySelector('#insecure').hidden")
        assert await page.evaluate("document.querySelector('#unlock').hidden")
        assert "ssh -L" in "".join(await texts(page, "#insecure"))
