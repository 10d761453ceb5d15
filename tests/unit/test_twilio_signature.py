"""Whether a handshake comes from Twilio."""

import pytest
from websockets.datastructures import Headers

from server.access.auth import InvalidCredentials
from server.access.twilio_signature import TwilioSignatures

_TOKEN = "12345"
# The example of Twilio's documentation. It is of a POST, whose sorted fields are signed as if they were the URL's end.
_HOST = "mycompany.com"
_PATH = "/myapp.php?foo=1&bar=2CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212"
_SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def signed(path: str, signature: str, host: str = _HOST, url: str = "", token: str = _TOKEN) -> str | None:
    """Who is found to have signed the request."""
    headers = Headers({"Host": host, "x-twilio-signature": signature})
    principal = TwilioSignatures(token, url).authenticate(headers, path)
    return principal.id if principal else None


def made_for(url: str, token: str = _TOKEN) -> str:
    """The signature that Twilio makes for an address."""
    return TwilioSignatures(token).sign(url).decode()


def test_the_signature_of_twilio_s_documentation_is_accepted() -> None:
    assert signed(_PATH, _SIGNATURE) == "twilio"


@pytest.mark.parametrize("scheme", ["wss", "https"])
@pytest.mark.parametrize("written", ["/twilio", "/twilio/"])
@pytest.mark.parametrize("asked", ["/twilio", "/twilio/"])
def test_the_same_address_may_be_written_in_several_ways(scheme: str, written: str, asked: str) -> None:
    assert signed(asked, made_for(f"{scheme}://{_HOST}{written}")) == "twilio"


def test_the_query_is_signed_too() -> None:
    assert signed("/twilio?a=b", made_for(f"wss://{_HOST}/twilio?a=b")) == "twilio"
    with pytest.raises(InvalidCredentials):
        signed("/twilio?a=c", made_for(f"wss://{_HOST}/twilio?a=b"))


def test_behind_a_proxy_the_public_address_counts() -> None:
    signature = made_for("wss://voice.example.com/twilio")
    assert signed("/twilio", signature, host="10.0.0.7:9000", url="wss://voice.example.com/twilio") == "twilio"
    with pytest.raises(InvalidCredentials):
        signed("/twilio", signature, host="10.0.0.7:9000")


@pytest.mark.parametrize(
    ("path", "signature"),
    [
        ("/twilio", ""),
        ("/twilio", "x"),
        ("/twilio", "ü"),
        ("/twilio", made_for("wss://mycompany.com/twilio", "54321")),
        ("/twilio", made_for("wss://elsewhere.com/twilio")),
        ("/other", made_for("wss://mycompany.com/twilio")),
    ],
)
def test_what_is_not_signed_for_this_address_is_refused(path: str, signature: str) -> None:
    with pytest.raises(InvalidCredentials) as refused:
        signed(path, signature)
    assert refused.value.reason == "not_twilio"


def test_two_signatures_are_none() -> None:
    headers = Headers([("Host", _HOST), ("X-Twilio-Signature", "a"), ("X-Twilio-Signature", "b")])
    with pytest.raises(InvalidCredentials):
        TwilioSignatures(_TOKEN).authenticate(headers, "/twilio")


def test_a_request_without_a_signature_is_nobody_s() -> None:
    assert TwilioSignatures(_TOKEN).authenticate(Headers({"Host": _HOST}), "/twilio") is None


def test_who_was_let_in_by_an_auth_token_that_was_replaced_is_accepted_no_more() -> None:
    signatures = TwilioSignatures(_TOKEN)
    principal = signatures.authenticate(Headers({"Host": _HOST, "X-Twilio-Signature": _SIGNATURE}), _PATH)
    assert principal
    assert signatures.still_accepts(principal)
    assert not TwilioSignatures("54321").still_accepts(principal)
    assert _TOKEN not in repr(principal)
