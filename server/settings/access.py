"""Settings: where the node listens, who may call, and how many at once."""

import hashlib
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from server.settings.field_types import CommaSeparated, LongSecret
from server.settings.secrets import NOT_SHOWN

_HASHED_KEY = re.compile(r"sha256:[0-9a-f]{64}")
_STREAM_URL = re.compile(r"wss://[^/?#\s]+/[^?#\s]*")


def hash_api_key(key: str) -> str:
    """The form in which an API key is kept: `sha256:` and 64 hex digits. Keys are random, so no salt is needed."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _hashed(keys: frozenset[str]) -> frozenset[str]:
    if any(key.startswith("sha256:") and not _HASHED_KEY.fullmatch(key) for key in keys):
        raise ValueError("takes keys in plain, or `sha256:` and 64 hex digits in small letters")
    return frozenset(key if _HASHED_KEY.fullmatch(key) else hash_api_key(key) for key in keys)


def _stream_url(url: str) -> str:
    if url and not _STREAM_URL.fullmatch(url):
        raise ValueError("takes an address such as wss://voice.example.com/twilio")
    return url


StreamUrl = Annotated[str, AfterValidator(_stream_url)]
HashedKeys = Annotated[CommaSeparated, AfterValidator(_hashed), NOT_SHOWN]


class AccessSettings(BaseModel):
    """The way in."""

    # --- addresses
    host: str = Field(
        "127.0.0.1", description="Address to listen on. Any but loopback needs API keys or a token secret."
    )
    port: int = Field(
        9000, ge=0, le=65535, description="Port of calls (WebSocket) and of the HTTP API; 0 takes a free one."
    )
    http_port: int = Field(
        9001,
        ge=0,
        le=65535,
        description="Port of /health, /ready, /in-service, /metrics and /talk; 0 takes a free one.",
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM); with it VOICE_PORT speaks TLS.")
    tls_key: Path | None = Field(None, description="Private key (PEM) of the certificate.")

    # --- who may call
    api_keys: HashedKeys = Field(
        frozenset(),
        description="Accepted API keys, comma-separated, each in plain or as `sha256:HEX`. Only hashes are kept.",
    )
    token_secret: LongSecret | None = Field(
        None, description="Secret (at least 32 bytes) that signs short-lived client tokens (JWT, HS256)."
    )
    other_token_secret: LongSecret | None = Field(
        None,
        description="Another secret by which tokens and session tickets are accepted, while VOICE_TOKEN_SECRET is "
        "being replaced. Nothing is sealed with it.",
    )
    twilio_auth_token: SecretStr | None = Field(
        None,
        description="Auth token of the Twilio account whose Media Streams may call `/twilio`; their signature is "
        "checked. A stream that is not signed shows a client token, where keys or tokens are needed.",
    )
    twilio_url: StreamUrl = Field(
        "",
        description="Address of `/twilio` as the TwiML names it (`wss://HOST/twilio`), which Twilio signs; needed only "
        "behind a proxy that changes the Host header.",
    )
    allowed_origins: CommaSeparated = Field(
        frozenset(),
        description="Web origins whose pages may call, comma-separated. A caller that sends no Origin is no page.",
    )

    keys_secret: str = Field(
        "",
        description="Secret of AWS Secrets Manager that holds `api_keys`, `token_secret` and any other secret setting "
        "as JSON, in place of the settings themselves. A change of keys is taken within a minute, and calls by keys "
        "that are gone end.",
    )

    # --- admission
    max_sessions: int = Field(
        16,
        ge=1,
        le=100_000,
        description="Calls at once; one more is refused with 503 and Retry-After. An HTTP request for speech counts as "
        "a call while it runs, one for a transcription as half of one.",
    )
    max_upload_bytes: int = Field(
        26_214_400,
        ge=65_536,
        le=268_435_456,
        description="Largest body of an HTTP request for a transcription; a larger one is refused with 413.",
    )
    sessions_per_key: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Calls of one API key at once on this node; one more gets 429. 0: all there are.",
    )
    sessions_per_token: int = Field(
        4,
        ge=0,
        le=100_000,
        description="Calls of one token subject, which is one user, at once on this node; one more gets 429. A token's "
        "claim `sessions` may say less. 0: all there are.",
    )
    max_call_seconds: float = Field(
        7200.0, ge=0.0, description="Longest call; then the caller hears a goodbye, and the call ends. 0: no limit."
    )
    max_idle_seconds: float = Field(
        600.0,
        ge=0.0,
        description="Longest time in which nobody speaks and the client sends nothing but audio; then the caller hears "
        "a goodbye, and the call ends. 0: no limit.",
    )
    retry_after_seconds: int = Field(2, ge=1, le=3600, description="What a refused caller is told to wait.")
    drain_seconds: float = Field(
        3600.0,
        ge=0.0,
        description="After SIGTERM, or when the fleet takes the node out: how long live calls may go on at most.",
    )
    resume_seconds: float = Field(
        120.0,
        ge=10.0,
        le=3600.0,
        description="How long after the end of its connection a call can be resumed with its ticket (`x_resume`), on "
        "any node with the same VOICE_TOKEN_SECRET; without one, on the same node.",
    )
