"""Places a telephone call that a Voicefleet node speaks on, and transfers a call to a person.

Twilio's REST API, asked over plain HTTPS. TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are those of your account.
"""

import json
import os
import sys
from base64 import b64encode
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.sax.saxutils import escape, quoteattr

API = os.environ.get("TWILIO_API", "https://api.twilio.com")


def place(to: str, caller: str, stream: str, *parameters: str) -> str:
    """Call `to` from the number `caller`, and have the node at `stream` speak. Parameters are NAME=VALUE."""
    pairs = [parameter.split("=", 1) for parameter in parameters]
    inside = "".join(f"<Parameter name={quoteattr(name)} value={quoteattr(value)}/>" for name, value in pairs)
    twiml = f"<Response><Connect><Stream url={quoteattr(stream)}>{inside}</Stream></Connect></Response>"
    return post("Calls.json", To=to, From=caller, Twiml=twiml)


def transfer(call: str, to: str) -> str:
    """Connect the call with this SID to the number `to`: its TwiML is replaced, which ends the stream."""
    return post(f"Calls/{call}.json", Twiml=f"<Response><Dial>{escape(to)}</Dial></Response>")


def post(path: str, **fields: str) -> str:
    """The SID of the call, as Twilio answers."""
    account, auth_token = os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"]
    request = Request(f"{API}/2010-04-01/Accounts/{account}/{path}", urlencode(fields).encode())  # noqa: S310
    request.add_header("Authorization", f"Basic {b64encode(f'{account}:{auth_token}'.encode()).decode()}")
    with urlopen(request, timeout=30) as answer:  # noqa: S310  # https, or what TWILIO_API says
        return str(json.load(answer)["sid"])


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    sys.stdout.write(f"{ {'place': place, 'transfer': transfer}[command](*arguments) }\n")
