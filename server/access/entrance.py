"""Who comes in, by whatever protocol: by which credential, and from which web page. It counts nobody."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from server.access.auth import Authenticator, InvalidCredentials, Principal, credential_from
from server.access.client_secrets import PREFIX, ClientSecrets
from server.access.twilio_signature import TwilioSignatures
from server.addresses import is_loopback
from server.settings.settings import Settings

_PASS_SECONDS = 60
_NO_SESSION = b"null"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `session` is what a client secret holds: a session's settings, in JSON of the dialect's."""

    principal: Principal | None = None
    """None where nobody has to show a credential."""
    session: bytes = b""


class Entrance:
    """Knows the keys that are accepted now."""

    def __init__(self, settings: Settings) -> None:
        self._origins = settings.allowed_origins
        # Without a secret of the fleet's, nobody but this process opens what it seals.
        self._own_secret = secrets.token_hex(32)
        self.take_keys(settings)

    def take_keys(self, settings: Settings) -> None:
        """From now on callers are let in by the keys and the token secrets of these settings."""
        held = settings.token_secrets
        self.sealing_secrets: Sequence[str] = held or [self._own_secret]
        """What is given to clients to keep is sealed with the first of them, and opened with any."""
        self.authenticator = Authenticator(settings.api_keys, *held) if settings.needs_auth else None
        self.client_secrets = ClientSecrets(self.sealing_secrets)
        twilio = settings.twilio_auth_token
        self.signatures = TwilioSignatures(twilio.get_secret_value(), settings.twilio_url) if twilio else None

    def identify(self, headers: Mapping[str, str], subprotocols: Sequence[str] = ()) -> Caller:
        """Who shows these headers and offers these subprotocols. Raises `InvalidCredentials`."""
        credential = credential_from(headers, subprotocols)
        if credential and credential.startswith(PREFIX):
            return self._holder(credential)
        return Caller(self.authenticator.authenticate(credential) if self.authenticator else None)

    def give_pass(self, credential: str | None) -> str | None:
        """A client secret for the node's own page, to place a call with at once; None where nobody needs one.

        A browser can send a WebSocket no header, and what it sends instead may end up in logs. Raises
        `InvalidCredentials`.
        """
        if self.authenticator is None:
            return None
        principal = self.authenticator.authenticate(credential)
        return self.client_secrets.make(principal, _NO_SESSION, int(time.time()) + _PASS_SECONDS)

    def still_accepts(self, principal: Principal) -> bool:
        """Whether the credential of someone let in before would still be accepted."""
        if principal.kind == "twilio":
            return self.signatures is not None and self.signatures.still_accepts(principal)
        return self.authenticator is None or self.authenticator.still_accepts(principal)

    def allows_origin(self, origin: str) -> bool:
        """Only browsers send an origin. Where anyone may call, any page could; so there only local pages may."""
        return origin in self._origins if self._origins else self.authenticator is not None or _is_local_page(origin)

    def _holder(self, client_secret: str) -> Caller:
        content = self.client_secrets.open(client_secret, time.time())
        principal = content.principal if self.authenticator else None
        if self.authenticator and not (principal and self.authenticator.still_accepts(principal)):
            raise InvalidCredentials("unknown_key")
        session = bytes(content.session)
        return Caller(principal, b"" if session == _NO_SESSION else session)


def _is_local_page(origin: str) -> bool:
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:  # no URL at all
        return False
