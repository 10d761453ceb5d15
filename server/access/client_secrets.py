"""Client secrets (`ek_...`): short-lived keys that an application gives to a browser, with a session inside.

Nothing is stored: whose calls they are, until when they can begin and with which settings is sealed in the secret
itself, so that any node of the fleet takes it. Pure but for the random salt of a new one. A secret says when a call may
begin; the call may outlive it, as with the hosted service, and ends with the credential that the secret was made with.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from server.access.auth import InvalidCredentials, Principal
from server.access.sealing import Seal, SealBroken
from server.errors import VoicefleetError

PREFIX = "ek_"
MOST_CHARACTERS = 7000
"""Of a secret: browsers show it in a header line, which takes 8192 bytes."""


class SessionTooLarge(VoicefleetError):
    """The session's settings do not fit into a client secret."""

    code = "session_too_large"

    def __init__(self, characters: int) -> None:
        super().__init__(
            f"session: its settings make a client secret of {characters:,} characters; takes settings for at most "
            f"{MOST_CHARACTERS:,}, which a browser can send in a header. Send the rest with session.update"
        )


class ClientSecret(msgspec.Struct, frozen=True, array_like=True):
    """What a secret says: whose it is, when it ends (seconds since 1970), and the session, in JSON of the dialect's.

    The principal is taken apart as the credential that it showed has it; without a `kind` nobody had to show one.
    """

    kind: Literal["key", "token", "twilio", ""]
    id: str
    credential_expires_at: float | None
    sessions: int
    hash: str
    expires_at: int
    session: msgspec.Raw

    @property
    def principal(self) -> Principal | None:
        """Whose it is; None where nobody has to say."""
        if not self.kind:
            return None
        return Principal(self.id, self.kind, self.credential_expires_at, self.sessions, self.hash)


class ClientSecrets:
    """Makes them with the first of `secrets`, and opens them with any."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._seal = Seal(secrets, "voicefleet client secret")

    def make(self, principal: Principal | None, session: bytes, expires_at: int) -> str:
        """A secret for calls of `principal` that begin before `expires_at`. Raises `SessionTooLarge`."""
        whose = principal or Principal("", "local")
        kind = "" if whose.kind == "local" else whose.kind
        content = ClientSecret(
            kind, whose.id, whose.expires_at, whose.sessions, whose.hash, expires_at, msgspec.Raw(session)
        )
        secret = PREFIX + self._seal.seal(msgspec.json.encode(content))
        if len(secret) > MOST_CHARACTERS:
            raise SessionTooLarge(len(secret))
        return secret

    def open(self, secret: str, now: float) -> ClientSecret:
        """What a secret says that is shown `now` (seconds since 1970). Raises `InvalidCredentials`.

        There is no allowance for clocks that differ: only nodes make secrets, and theirs are kept right.
        """
        try:
            content = msgspec.json.decode(self._seal.open(secret.removeprefix(PREFIX)), type=ClientSecret)
        except SealBroken:
            raise InvalidCredentials("bad_signature") from None
        except msgspec.ValidationError:  # of a node of another version
            raise InvalidCredentials("malformed") from None
        if now >= content.expires_at:
            raise InvalidCredentials("expired")
        return content
