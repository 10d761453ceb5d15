"""Whether a handshake comes from Twilio, by its `X-Twilio-Signature`.

Pure. Twilio signs the address that the TwiML names, with the account's auth token: base64 of the HMAC-SHA1 of the URL.
The node can't see how that was written, so the ways to write the same address are tried: `wss` or `https`, with or
without a slash at the end. Source: Twilio's documentation, "Webhooks security"; twilio-python's `RequestValidator`.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping
from itertools import product

from server.access.auth import InvalidCredentials, Principal
from server.settings.access import hash_api_key

_HEADER = "X-Twilio-Signature"


class TwilioSignatures:
    """Checks handshakes against the account's auth token.

    `url` is the node's address as the TwiML names it; empty: that of the request, by its Host header.
    """

    def __init__(self, auth_token: str, url: str = "") -> None:
        self._key = auth_token.encode()
        self._url = url
        self._hash = hash_api_key(auth_token)

    def authenticate(self, headers: Mapping[str, str], path: str) -> Principal | None:
        """Twilio, if it has signed the request for `path` (with its query); None where nothing is signed.

        Raises `InvalidCredentials`. `headers` ignores case.
        """
        try:
            signature, host = headers.get(_HEADER), headers.get("Host", "")
        except LookupError:  # `websockets` raises it for a header that was sent more than once
            raise InvalidCredentials("malformed") from None
        if signature is None:
            return None
        if not any(hmac.compare_digest(signature.encode(), self.sign(url)) for url in self._addresses(host, path)):
            raise InvalidCredentials("not_twilio")
        return Principal("twilio", "twilio", hash=self._hash)

    def still_accepts(self, principal: Principal) -> bool:
        """Whether someone let in before was let in by this auth token."""
        return principal.hash == self._hash

    def _addresses(self, host: str, path: str) -> Iterator[str]:
        _, question_mark, query = path.partition("?")
        address = (self._url or f"wss://{host}{path}").partition("?")[0].partition("://")[2].rstrip("/")
        for scheme, slash in product(("wss", "https"), ("", "/")):
            yield f"{scheme}://{address}{slash}{question_mark}{query}"

    def sign(self, url: str) -> bytes:
        """The signature of a request to `url`."""
        return b64encode(hmac.digest(self._key, url.encode(), "sha1"))
