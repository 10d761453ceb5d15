"""The talk page's HTTP side at real nodes: what a browser is allowed there, who is given a pass, and to which page."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.live_call import live_call, refusal
from tests.support.node import NodeProcess, running_node

KEY = "vf_visitor.wq0Zk3hVb1"
SITE = "calls.example"


@pytest.fixture(scope="module")
def open_to_all(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node on loopback that takes no keys."""
    with running_node(**quick, VOICE_SPECULATION="stt") as running:
        yield running


@pytest.fixture(scope="module")
def guarded(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node that wants a key, and one call for each."""
    with running_node(
        **quick, VOICE_API_KEYS=KEY, VOICE_SESSIONS_PER_KEY="1", VOICE_ALLOWED_ORIGINS=f"http://{SITE},https://{SITE}"
    ) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def bearer(credential: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}", **headers}


async def pass_of(client: aiohttp.ClientSession, node: NodeProcess, credential: str) -> str | None:
    """The pass that is given for `credential`; None if there is none."""
    async with client.post(f"{node.http}/talk/token", headers=bearer(credential)) as response:
        return str((await response.json())["token"]) if response.status == 200 else None


# --- what a browser may do with the page


async def test_the_page_runs_its_own_files_only_and_calls_this_node_only(
    open_to_all: NodeProcess, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{open_to_all.http}/talk") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        page = await response.text()
        policy = response.headers["Content-Security-Policy"]
    calls = urlsplit(open_to_all.websocket)
    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' ws://{calls.netloc}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert response.headers["Permissions-Policy"].startswith("microphone=(self)")
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/talk/talk.js">') == 1


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("style.css", "text/css"),
        ("talk.js", "text/javascript"),
        ("capture.worklet.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_its_files_are_served(
    open_to_all: NodeProcess, client: aiohttp.ClientSession, name: str, content_type: str
) -> None:
    async with client.get(f"{open_to_all.http}/talk/{name}") as response:
        assert (response.status, response.content_type) == (200, content_type)


@pytest.mark.parametrize("path", ["/talk/page.py", "/talk/__init__.py", "/talk/../node/http.py", "/talk/", "/talking"])
async def test_no_other_file_is(open_to_all: NodeProcess, client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(f"{open_to_all.http}{path}") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("POST", "/talk", "GET, HEAD"), ("GET", "/talk/token", "POST")]
)
async def test_another_method_is_not_taken(
    open_to_all: NodeProcess, client: aiohttp.ClientSession, method: str, path: str, allowed: str
) -> None:
    async with client.request(method, f"{open_to_all.http}{path}") as response:
        assert (response.status, response.headers["Allow"]) == (405, allowed)


# --- a node without keys


async def test_without_keys_the_page_of_this_machine_needs_no_pass(
    open_to_all: NodeProcess, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{open_to_all.http}/talk/token", headers={"Origin": open_to_all.http}) as response:
        assert response.status == 200
        place = await response.json()
    assert place == {
        "url": open_to_all.websocket,
        "token": None,
        "voices": ["tone"],
        "speculation": ["off", "stt"],
    }


@pytest.mark.parametrize("path", ["/talk", "/talk/talk.js", "/talk/token"])
@pytest.mark.parametrize("host", ["rebound.example", "127.0.0.1.rebound.example:9001", "10.0.0.1"])
async def test_without_keys_a_name_that_was_rebound_to_this_machine_is_told_nothing(
    open_to_all: NodeProcess, client: aiohttp.ClientSession, path: str, host: str
) -> None:
    async with client.post(f"{open_to_all.http}{path}", headers={"Host": host}) as response:
        assert response.status == 421
        assert "localhost" in (await response.json())["error"]


@pytest.mark.parametrize("host", ["localhost; script-src *", "localhost:9001/", "[::1", ""])
async def test_a_host_that_is_none_gets_into_no_policy(
    guarded: NodeProcess, client: aiohttp.ClientSession, host: str
) -> None:
    async with client.get(f"{guarded.http}/talk", headers={"Host": host}) as response:
        assert response.status == 400
        assert "Content-Security-Policy" not in response.headers


@pytest.mark.parametrize("origin", ["http://other.example", "http://localhost:1", "null"])
async def test_another_page_is_told_nothing(
    open_to_all: NodeProcess, client: aiohttp.ClientSession, origin: str
) -> None:
    async with client.post(f"{open_to_all.http}/talk/token", headers={"Origin": origin}) as response:
        assert response.status == 403
        assert "url" not in await response.json()


# --- a node with keys


async def test_a_key_gives_a_pass_whose_call_is_the_keys(guarded: NodeProcess, client: aiohttp.ClientSession) -> None:
    given = await pass_of(client, guarded, KEY)
    assert given
    before = len(guarded.events("session_started"))
    offered = ["realtime", f"openai-insecure-api-key.{given}"]
    async with live_call(guarded.websocket, subprotocols=offered):
        full = await refusal(guarded.websocket, headers=bearer(KEY))
        assert full.status_code == 429, "the pass's call is one of the key's"
    assert (await guarded.logged("session_started", before))["principal"] == "vf_visitor"
    assert given not in "".join(guarded.log)


async def test_without_a_key_there_is_no_pass_and_a_pass_is_no_key(
    guarded: NodeProcess, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{guarded.http}/talk/token") as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    given = await pass_of(client, guarded, KEY)
    assert given
    assert await pass_of(client, guarded, given) is None
    assert await pass_of(client, guarded, "vf_visitor.other") is None


async def test_a_page_that_the_settings_do_not_name_is_told_which_one_would_have_to(
    guarded: NodeProcess, client: aiohttp.ClientSession
) -> None:
    headers = bearer(KEY, Origin=guarded.http)
    async with client.post(f"{guarded.http}/talk/token", headers=headers) as response:
        assert response.status == 403
        assert "VOICE_ALLOWED_ORIGINS" in (await response.json())["error"]
    async with client.post(
        f"{guarded.http}/talk/token", headers=bearer(KEY, Origin=f"http://{SITE}", Host=SITE)
    ) as response:
        assert response.status == 200


async def test_behind_a_proxy_with_a_certificate_the_page_calls_the_proxy(
    guarded: NodeProcess, client: aiohttp.ClientSession
) -> None:
    proxied = {"Host": SITE, "X-Forwarded-Proto": "https"}
    async with client.get(f"{guarded.http}/talk", headers=proxied) as response:
        assert f"connect-src 'self' wss://{SITE};" in response.headers["Content-Security-Policy"]
    async with client.post(
        f"{guarded.http}/talk/token", headers=bearer(KEY, Origin=f"https://{SITE}", **proxied)
    ) as response:
        assert (await response.json())["url"] == f"wss://{SITE}/v1/realtime"
