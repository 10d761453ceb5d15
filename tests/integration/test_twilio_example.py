"""What examples/twilio asks of Twilio, whose REST API a stand-in takes; and its TwiML."""

import asyncio
import base64
import sys
from typing import Any
from xml.etree import ElementTree

from aiohttp import web

from server.dialects.dialect import Abilities
from server.dialects.twilio.parameters import Parameters, read_parameters
from tests.support.documents import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "twilio"


async def asked(*arguments: str) -> tuple[str, dict[str, Any], str]:
    """The path and the fields of the request that the program makes, and what it prints."""
    seen: list[tuple[str, dict[str, Any]]] = []

    async def take(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Basic {base64.b64encode(b'AC1:secret').decode()}"
        seen.append((request.path, dict(await request.post())))
        return web.json_response({"sid": "CA7"}, status=201)

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        variables = {
            "TWILIO_API": f"http://127.0.0.1:{port}",
            "TWILIO_ACCOUNT_SID": "AC1",
            "TWILIO_AUTH_TOKEN": "secret",
        }
        command = (sys.executable, str(EXAMPLE / "calls.py"), *arguments)
        process = await asyncio.create_subprocess_exec(*command, env=variables, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
    finally:
        await runner.cleanup()
    [(path, fields)] = seen
    return path, fields, output.decode()


def parameters_in(twiml: str) -> dict[str, str]:
    """Those of the TwiML's one stream."""
    [stream] = ElementTree.fromstring(twiml).findall("./Connect/Stream")
    return {each.attrib["name"]: each.attrib["value"] for each in stream.findall("Parameter")}


async def test_a_call_is_placed_with_the_twiml_of_a_stream() -> None:
    greeting = 'Say "hello" & <wait>.'
    path, fields, printed = await asked("place", "+15550100", "+15550199", "wss://v/twilio", f"greeting={greeting}")
    assert path == "/2010-04-01/Accounts/AC1/Calls.json"
    assert (fields["To"], fields["From"]) == ("+15550100", "+15550199")
    assert parameters_in(fields["Twiml"]) == {"greeting": greeting}
    assert printed == "CA7\n"


async def test_a_call_is_transferred_by_other_twiml() -> None:
    path, fields, _ = await asked("transfer", "CA7", "+15550123")
    assert path == "/2010-04-01/Accounts/AC1/Calls/CA7.json"
    assert fields == {"Twiml": "<Response><Dial>+15550123</Dial></Response>"}


def test_the_twiml_sets_what_a_node_takes() -> None:
    given = parameters_in((EXAMPLE / "voice.xml").read_text(encoding="utf-8"))
    assert set(given) <= set(Parameters.__struct_fields__)
    assert all(len(name) + len(value) < 500 for name, value in given.items())  # Twilio takes no more
    assert read_parameters(given, Abilities(languages=frozenset({"en"}))).greeting
