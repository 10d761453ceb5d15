"""Who may call: API keys known by their hash, and short-lived client tokens that the customer's back end signs.

Pure but for the wall clock that a token's expiry is held against. It neither knows origins nor counts calls. No
message, and no other thing made here, holds a credential.
"""

import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import jwt

from server.errors import VoicefleetError
from server.settings.access import hash_api_key

AUDIENCE = "voicefleet"
MAX_TOKEN_SECONDS = 24 * 3600
CLOCK_SKEW_SECONDS = 60
_ALGORITHM = "HS256"
_MAX_SUBJECT = 128  # characters; the subject stands in log lines
_SUBPROTOCOL_PREFIX = "openai-insecure-api-key."  # how the OpenAI SDK calls from a browser, which can't set headers

CredentialFault = Literal[
    "missing", "malformed", "unknown_key", "bad_signature", "expired", "wrong_audience", "not_twilio"
]

_EXPLAINED: Mapping[CredentialFault, str] = {
    "missing": "no credential; send `Authorization: Bearer KEY_OR_TOKEN`, an `api-key` header or the subprotocol "
    f"`{_SUBPROTOCOL_PREFIX}KEY_OR_TOKEN`",
    "malformed": "the credential is neither an API key nor a JWT (HS256 with exp, aud and sub, not from the future, "
    f"living {MAX_TOKEN_SECONDS // 3600} hours at most; sessions, if given, a whole number)",
    "unknown_key": "the API key is not one that this node knows",
    "bad_signature": "the token was not signed with this node's secret",
    "expired": "the token has expired; ask for a new one",
    "not_twilio": "X-Twilio-Signature: not made with VOICE_TWILIO_AUTH_TOKEN for this address, or for VOICE_TWILIO_URL",
    "wrong_audience": f"the token is meant for someone else; its aud must be {AUDIENCE!r}",
}


class InvalidCredentials(VoicefleetError):
    """The caller showed no credential, or none that is accepted; `reason` is fit to be a metric's label."""

    def __init__(self, reason: CredentialFault) -> None:
        super().__init__(_EXPLAINED[reason])
        self.reason = reason


class TokenRefused(VoicefleetError):
    """A token that no node would accept is not made."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `id` may be logged: a key's public part, a token's subject, "twilio", or "local" where none is asked.

    Beside it what the credential says, which makes nobody another: a token's `expires_at` (seconds since 1970) and how
    many calls at once it allows itself (`sessions`; 0: it does not say); `hash` is the key's, or that of the secret
    which signed the token or the handshake.
    """

    id: str
    kind: Literal["key", "token", "twilio", "local"]
    expires_at: float | None = field(default=None, compare=False)
    sessions: int = field(default=0, compare=False)
    hash: str = field(default="", compare=False, repr=False)


class Authenticator:
    """Checks credentials against `api_key_hashes` (as `hash_api_key` makes them) and the secrets that sign tokens.

    With neither of them everyone is let in as the principal "local": `Settings` allows that on loopback only.
    """

    def __init__(self, api_key_hashes: frozenset[str], *token_secrets: str) -> None:
        self._hashes = api_key_hashes
        self._secrets = token_secrets

    def authenticate(self, credential: str | None) -> Principal:
        """The principal that `credential` (an API key or a token) stands for. Raises `InvalidCredentials`."""
        if not self._hashes and not self._secrets:
            return Principal("local", "local")
        if not credential:
            raise InvalidCredentials("missing")
        if not credential.isascii():
            raise InvalidCredentials("malformed")
        digest = hash_api_key(credential)
        if any(hmac.compare_digest(digest, known) for known in self._hashes):
            return Principal(_key_id(credential, digest), "key", hash=digest)
        if self._secrets and credential.count(".") == 2:
            return _verified_token(credential, self._secrets)
        raise InvalidCredentials("unknown_key")

    def still_accepts(self, principal: Principal) -> bool:
        """Whether the key, or the secret that signed the token, of someone let in before would still be accepted."""
        return principal.hash in self._hashes.union(map(hash_api_key, self._secrets))


def credential_from(headers: Mapping[str, str], subprotocols: Sequence[str]) -> str | None:
    """The credential of a handshake, or None; `headers` ignores case.

    It is looked for in `Authorization: Bearer`, then `api-key` (Azure's name), then the subprotocols; never in the
    query string, which ends up in logs. Raises `InvalidCredentials` where a header comes twice.
    """
    try:
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        azure = headers.get("api-key")
    except LookupError:  # `websockets` raises it for a header that was sent more than once
        raise InvalidCredentials("malformed") from None
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip()
    if azure:
        return azure
    offered = (name.removeprefix(_SUBPROTOCOL_PREFIX) for name in subprotocols if name.startswith(_SUBPROTOCOL_PREFIX))
    return next(offered, None)


def new_api_key() -> tuple[str, str]:
    """A fresh API key `vf_ID.SECRET` (256 random bits in the secret) and the hash to give to a node."""
    key = f"vf_{secrets.token_hex(4)}.{secrets.token_urlsafe(32)}"
    return key, hash_api_key(key)


def mint_token(secret: str, subject: str, ttl_seconds: float, now: float, sessions: int = 0) -> str:
    """A JWT that lets `subject` call for `ttl_seconds` from `now` (seconds since 1970). Raises `TokenRefused`.

    `sessions` is how many calls `subject` may hold at once with it; 0: as many as the node lets it.
    """
    if not 0 < ttl_seconds <= MAX_TOKEN_SECONDS:
        raise TokenRefused(f"ttl: got {ttl_seconds:g} seconds; takes more than 0 and at most {MAX_TOKEN_SECONDS}")
    if not 0 < len(subject) <= _MAX_SUBJECT:
        raise TokenRefused(f"subject: got {len(subject)} characters; takes 1 to {_MAX_SUBJECT}")
    claims = {"sub": subject, "aud": AUDIENCE, "iat": int(now), "exp": int(now + ttl_seconds)}
    if sessions:
        claims["sessions"] = sessions
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def _key_id(key: str, digest: str) -> str:
    """The part before the dot of `ID.SECRET`; of any other key the first digits of its hash."""
    name, dot, _ = key.partition(".")
    return name if name and dot else digest.removeprefix("sha256:")[:8]


def _verified_token(token: str, secrets: Sequence[str]) -> Principal:
    secret, *others = secrets
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": ["exp", "aud", "sub"]},
        )
    except jwt.ExpiredSignatureError:
        raise InvalidCredentials("expired") from None
    except jwt.InvalidAudienceError:
        raise InvalidCredentials("wrong_audience") from None
    except jwt.InvalidSignatureError:
        if others:
            return _verified_token(token, others)
        raise InvalidCredentials("bad_signature") from None
    except jwt.PyJWTError:
        raise InvalidCredentials("malformed") from None
    subject: str = claims["sub"]
    issued = claims.get("iat", time.time() + CLOCK_SKEW_SECONDS)  # without iat, the latest it could have been
    lifetime = int(claims["exp"]) - int(issued)
    if lifetime > MAX_TOKEN_SECONDS or not 0 < len(subject) <= _MAX_SUBJECT:
        raise InvalidCredentials("malformed")
    sessions = claims.get("sessions", 0)
    if type(sessions) is not int or sessions < 0:
        raise InvalidCredentials("malformed")
    return Principal(subject, "token", float(claims["exp"]), sessions, hash_api_key(secret))
