"""A real browser for tests: Debian's Chromium without a window, driven by the DevTools protocol.

    async with chromium(microphone=clip) as browser:
        page = await browser.open("http://127.0.0.1:9001/talk")
        await page.click("#call")
        await page.until("document.title === 'talking'")

Loopback is all that a page can reach here, so nothing is asked of Chromium's own services.
"""

import asyncio
import itertools
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection, connect

CHROMIUM = "chromium"
"""The program, for `needs`."""

_START_SECONDS = 30.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root can't have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


class Page:
    """A tab. `errors` holds what its console said of errors, exceptions and refused resources so far.

    `sent` holds the JSON messages that it has sent over WebSockets.
    """

    def __init__(self, browser: "Browser", session_id: str) -> None:
        self._browser = browser
        self.session_id = session_id
        self.errors: list[str] = []
        self.sent: list[dict[str, Any]] = []

    async def send(self, method: str, **params: Any) -> Any:
        """A command of the DevTools protocol; gives its result. Raises `RuntimeError`."""
        return await self._browser.send(method, self.session_id, **params)

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression as JSON, awaited if it is a promise. It counts as the user's doing."""
        answer = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    async def click(self, selector: str) -> None:
        """Click the first element that `selector` finds."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def press(self, key: str) -> None:
        """Press a key that writes nothing but what `key` says, such as "Enter" or "Tab"."""
        code = {"Enter": 13, "Tab": 9}[key]
        for kind in ("keyDown", "keyUp"):
            text = "\r" if kind == "keyDown" and key == "Enter" else ""
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    async def until(self, script: str, seconds: float = 30.0) -> None:
        """Wait until a JavaScript expression is true. Raises `TimeoutError` with the page's text."""
        try:
            async with asyncio.timeout(seconds):
                while not await self.evaluate(f"Boolean({script})"):  # noqa: ASYNC110  # the page can wake nobody here
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise TimeoutError(f"never true: {script}\nerrors: {self.errors}\nthe page:\n{shown}") from None

    async def on_a_phone(self, width: int, height: int) -> None:
        """The page is on the screen of a telephone, of that many CSS pixels."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True
        )

    async def prefer(self, **features: str) -> None:
        """What the person prefers, such as `color_scheme="dark"`."""
        given = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        await self.send("Emulation.setEmulatedMedia", features=given)

    def note(self, event: dict[str, Any]) -> None:
        """An event of the tab's came."""
        params = event["params"]
        match event["method"]:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if params["type"] == "error":
                self.errors.append(" ".join(str(part.get("value")) for part in params["args"]))
            case "Network.webSocketFrameSent":
                self.sent.append(json.loads(params["response"]["payloadData"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")


class Browser:
    """A Chromium that runs."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def open(self, url: str = "about:blank") -> Page:
        """A new tab."""
        target = (await self.send("Target.createTarget", url="about:blank"))["targetId"]
        session_id = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = self._pages[session_id] = Page(self, session_id)
        for domain in ("Runtime", "Log", "Page", "Network"):
            await page.send(f"{domain}.enable")
        await page.send("Page.navigate", url=url)
        await page.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    async def send(self, method: str, session_id: str | None = None, **params: Any) -> Any:
        """A command of the DevTools protocol; gives its result. Raises `RuntimeError`."""
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": session_id} if session_id else {}
        await self._devtools.send(json.dumps({"id": number, "method": method, "params": params} | session))
        told = await answer
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']['message']}")
        return told["result"]

    async def listen(self) -> None:
        """Take what the browser says until it ends; then nothing that was asked is waited for."""
        with suppress(ConnectionClosed):
            async for message in self._devtools:
                told = json.loads(message)
                if answer := self._asked.pop(told.get("id"), None):
                    if not answer.done():  # whoever asked may have waited long enough
                        answer.set_result(told)
                elif page := self._pages.get(told.get("sessionId", "")):
                    page.note(told)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the browser has ended"))


@asynccontextmanager
async def chromium(*flags: str, microphone: Path | None = None) -> AsyncIterator[Browser]:
    """Run Chromium inside the block. `microphone` is a WAV file that its microphone hears once; None: it has none.

    Pages may use the microphone, and play sound, without being asked or clicked.
    """
    if microphone:
        flags = (
            *flags,
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}%noloop",
        )
    with tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *_FLAGS,
            *flags,
            f"--user-data-dir={profile}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr
        try:
            async with asyncio.timeout(_START_SECONDS):
                async for line in process.stderr:
                    _, found, address = line.decode().strip().partition("DevTools listening on ")
                    if found:
                        break
                else:
                    raise RuntimeError("Chromium did not start")
            async with connect(address, max_size=None) as devtools:
                browser = Browser(devtools)
                # No task group: what the test raises would come out of one in a group.
                tasks = [asyncio.create_task(work) for work in (browser.listen(), _drain(process.stderr))]
                try:
                    yield browser
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    """Read what nobody reads, so that the browser never waits for room to write."""
    async for _ in stream:
        pass
