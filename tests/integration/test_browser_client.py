"""`@openai/agents-realtime` in a real browser: its page has a client secret, calls and hears an answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from openai import AsyncOpenAI

from tests.support import node_js
from tests.support.browser import CHROMIUM, chromium
from tests.support.node import running_node

CLIENTS = Path(__file__).parent / "node_clients"
BUNDLE = CLIENTS / "node_modules/@openai/agents-realtime/dist/bundle/openai-realtime-agents.umd.js"
KEY = "vf_app.0123456789"
PAGE = """<!doctype html><title>A page that calls</title><link rel="icon" href="data:,">
<script src="/agents.js"></script><script>
const heard = { bytes: 0, words: "", errors: [] };
async function call(url, apiKey) {
  const { RealtimeAgent, RealtimeSession } = OpenAIAgentsRealtime;
  const session = new RealtimeSession(new RealtimeAgent({ name: "Desk" }), { transport: "websocket" });
  session.on("error", ({ error }) => heard.errors.push(JSON.stringify(error)));
  session.on("audio", ({ data }) => { heard.bytes += data.byteLength; });
  session.transport.on("response.output_audio_transcript.done", ({ transcript }) => { heard.words = transcript; });
  await session.connect({ url, apiKey });
  session.sendMessage("ping");
}
</script>"""


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """The application's web site; gives its origin."""
    app = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def bundle(_: web.Request) -> web.FileResponse:
        return web.FileResponse(BUNDLE)

    app.add_routes([web.get("/", page), web.get("/agents.js", bundle)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.needs(CHROMIUM)
async def test_a_page_with_a_client_secret_calls_and_hears_an_answer(quick: dict[str, str]) -> None:
    node_js.install(CLIENTS)
    async with site() as origin:
        with running_node(**quick, VOICE_API_KEYS=KEY, VOICE_ALLOWED_ORIGINS=origin) as node:
            base_url = node.base_url.replace("ws", "http", 1)
            back_end = AsyncOpenAI(api_key=KEY, base_url=base_url)
            secret = (await back_end.realtime.client_secrets.create()).value
            async with chromium() as browser:
                page = await browser.open(origin)
                await page.evaluate(f"call('{node.websocket}', '{secret}')")
                await page.until("heard.words && heard.bytes > 24000")
                assert await page.evaluate("heard.words") == "You said: ping"
                assert await page.evaluate("heard.errors") == []
                models = f"fetch('{base_url}/models', {{ headers: {{ Authorization: 'Bearer {secret}' }} }})"
                assert await page.evaluate(f"{models}.then((answer) => answer.status)") == 200
                assert page.errors == []
