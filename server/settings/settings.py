"""Every setting of the node: its name, unit, default and reason, from `VOICE_*` variables or a TOML file.

A wrong setting is refused at the start, with its name, what it got and what it takes. `docs/settings.md` is made from
this file (`make docs`).
"""

import hashlib
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from server.addresses import is_local, is_loopback, without_user
from server.errors import VoicefleetError
from server.limits import Limits
from server.settings.secrets import NOT_SHOWN
from server.settings.wrong_settings import explain, no_such_setting

PREFIX = "VOICE_"
_LLM_TAKES = "'local', 'bedrock:MODEL_ID' or 'openai:MODEL@URL'"
_LLM_PATTERN = re.compile(r"local|bedrock:(?P<bedrock>\S+)|openai:(?P<model>\S+)@(?P<url>https?://\S+)")
_HASHED_KEY = re.compile(r"sha256:[0-9a-f]{64}")
_HEADER_VALUE = re.compile(r"[!-~]*")
_MIN_SECRET_BYTES = 32


class SettingsError(VoicefleetError):
    """One or more settings are wrong; the message has a line for each."""


def hash_api_key(key: str) -> str:
    """The form in which an API key is kept: `sha256:` and 64 hex digits. Keys are random, so no salt is needed."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def _llm(value: str) -> str:
    match = _LLM_PATTERN.fullmatch(value)
    if not match or (match["url"] and not _is_usable(match["url"])):
        raise ValueError(f"takes {_LLM_TAKES}")
    return value


def _is_usable(url: str) -> bool:
    """Whether `url` has a host, and a port that is a number if it has any."""
    try:
        address = urlsplit(url)
        return bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        return False


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _hashed(keys: frozenset[str]) -> frozenset[str]:
    if any(key.startswith("sha256:") and not _HASHED_KEY.fullmatch(key) for key in keys):
        raise ValueError("takes keys in plain, or `sha256:` and 64 hex digits in small letters")
    return frozenset(key if _HASHED_KEY.fullmatch(key) else hash_api_key(key) for key in keys)


def _long_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < _MIN_SECRET_BYTES:
        raise ValueError(f"takes at least {_MIN_SECRET_BYTES} bytes (`openssl rand -hex 32` makes some)")
    return secret


def _header_secret(secret: SecretStr) -> SecretStr:
    if not _HEADER_VALUE.fullmatch(secret.get_secret_value()):
        raise ValueError("takes letters, digits and marks of ASCII, without blanks and line ends")
    return secret


CommaSeparated = Annotated[frozenset[str], NoDecode, BeforeValidator(_comma_separated)]
HashedKeys = Annotated[CommaSeparated, AfterValidator(_hashed), NOT_SHOWN]
InOrder = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_secret)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_header_secret)]


class Settings(BaseSettings):
    """The settings of a node, in the groups in which `docs/settings.md` shows them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    # --- addresses
    host: str = Field(
        "127.0.0.1", description="Address to listen on. Any but loopback needs API keys or a token secret."
    )
    port: int = Field(9000, ge=0, le=65535, description="WebSocket port; 0 takes a free one.")
    http_port: int = Field(
        9001, ge=0, le=65535, description="Port of /health, /ready and /metrics; 0 takes a free one."
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM); with it the WebSocket port speaks TLS.")
    tls_key: Path | None = Field(None, description="Private key (PEM) of the certificate.")

    # --- who may call
    api_keys: HashedKeys = Field(
        frozenset(),
        description="Accepted API keys, comma-separated, each in plain or as `sha256:HEX`. Only hashes are kept.",
    )
    token_secret: LongSecret | None = Field(
        None, description="Secret (at least 32 bytes) that signs short-lived client tokens (JWT, HS256)."
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
        16, ge=1, le=100_000, description="Calls at once; one more is refused with 503 and Retry-After."
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

    # --- limits of a call
    max_message_bytes: int = Field(
        1_048_576,
        ge=4096,
        le=33_554_432,
        description="Largest WebSocket message; a larger one closes the call with 1009.",
    )
    audio_rate: float = Field(
        Limits.audio_rate,
        ge=1.0,
        le=1000.0,
        description="Seconds of audio a caller may send per second on average, items' audio included. More is refused "
        "with `rate_limit_exceeded`, and not heard.",
    )
    audio_burst_seconds: float = Field(
        Limits.audio_burst_seconds,
        ge=1.0,
        le=3600.0,
        description="Seconds of audio a caller may send at once before the average counts.",
    )
    max_items: int = Field(
        Limits.max_items,
        ge=10,
        le=1_000_000,
        description="Items of a conversation, and of the input of one response. What would make more is refused with "
        "`limit_exceeded`; what the caller says is always taken.",
    )
    max_parts: int = Field(
        Limits.max_parts,
        ge=1,
        le=10_000,
        description="Parts of a message. A message of more is refused with `limit_exceeded`.",
    )
    max_conversation_bytes: int = Field(
        Limits.max_conversation_bytes,
        ge=65_536,
        le=1_073_741_824,
        description="Text that a conversation holds, in bytes of UTF-8. Items and answers that the client asks for "
        "beyond it are refused with `limit_exceeded`, until some are deleted; what the caller says is always taken.",
    )
    max_request_bytes: int = Field(
        Limits.max_request_bytes,
        ge=65_536,
        le=1_073_741_824,
        description="Text that the `input` of a response comes to, with all items that it refers to. More is refused "
        "with `limit_exceeded`.",
    )
    max_settings_bytes: int = Field(
        Limits.max_settings_bytes,
        ge=65_536,
        le=33_554_432,
        description="A session's settings (instructions, tools and all else) as JSON. What would make more is refused "
        "with `limit_exceeded`, and changes nothing.",
    )
    max_tools: int = Field(
        Limits.max_tools,
        ge=1,
        le=10_000,
        description="Tools of a session or a response. More are refused with `limit_exceeded`.",
    )
    max_responses_beside: int = Field(
        Limits.max_responses_beside,
        ge=1,
        le=64,
        description="Responses outside the conversation that may be in progress at once. More are refused with "
        "`limit_exceeded`, until one of them has ended.",
    )
    max_waiting_audio_seconds: float = Field(
        Limits.max_waiting_audio_seconds,
        ge=30.0,
        le=3600.0,
        description="Seconds of a call's audio that may wait while two of its utterances are being recognised. What "
        "would make more is not recognised: its transcription fails with `busy`.",
    )
    max_answer_seconds: float = Field(
        Limits.max_answer_seconds,
        ge=1.0,
        le=3600.0,
        description="Longest time for the language model to write an answer. Then it ends, incomplete, as at its limit "
        "of tokens.",
    )
    max_messages_per_second: float = Field(
        Limits.max_messages_per_second,
        ge=100.0,
        description="WebSocket frames that a client may send per second on average, and twenty times as many at once. "
        "More close the call with 1008.",
    )
    max_pings_per_second: float = Field(
        Limits.max_pings_per_second,
        ge=1.0,
        description="WebSocket pings that a client may send per second on average, and twenty times as many at once. "
        "More close the call with 1008.",
    )
    max_loop_share: float = Field(
        Limits.max_loop_share,
        gt=0.0,
        le=1.0,
        description="Fraction of the event loop's time that a call's messages may take on average, and two seconds of "
        "it at once. A call that takes more is not refused: its next message waits.",
    )

    # --- the conversation
    instructions: str = Field(
        "You are a friendly voice assistant. Answer each question in one short sentence of plain English.",
        description="System prompt of a session that sets none.",
    )
    speculation: Literal["auto", "off", "stt", "full"] = Field(
        "auto",
        description="What begins, with semantic_vad, before a turn is surely over: recognition at a pause (off) or "
        "while the caller speaks (stt), or model and voice too (full), which answers sooner and pays for answers that "
        "are thrown away (docs/turns.md). auto is full, but stt where VOICE_LLM=local and speech share a single core.",
    )
    send_ahead_seconds: float = Field(
        1.0,
        ge=0.1,
        le=30.0,
        description="How far audio may be sent ahead of its playback: a buffer for the network.",
    )

    # --- language model
    llm: Annotated[str, AfterValidator(_llm)] = Field(
        "local", description=f"The language model: {_LLM_TAKES}. Redirects of a server are not followed."
    )
    llm_api_key: HeaderSecret | None = Field(None, description="Bearer key for `openai:MODEL@URL`.")
    llm_timeout_seconds: float = Field(
        10.0,
        gt=0.0,
        le=120.0,
        description="Longest wait for a sign of life from the model (text, thoughts, comments); then the answer fails.",
    )
    llm_context_tokens: int = Field(
        28_000,
        ge=256,
        le=10_000_000,
        description="Tokens that the model can read: instructions, tools and conversation. Of a conversation that "
        "outgrows them the oldest turns are no longer shown to it (see truncation in docs/protocol.md).",
    )
    llm_max_tokens: int = Field(
        512, ge=1, le=100_000, description="Output tokens of an answer, where the session sets no limit."
    )
    llm_keep_warm_seconds: float = Field(
        240.0,
        ge=0.0,
        description="Bedrock: a one-token request after so long without any; 0 sends none. A cold model is slow.",
    )
    bedrock_latency: Literal["standard", "optimized"] = Field(
        "standard", description="Bedrock's performanceConfig.latency."
    )
    bedrock_prompt_cache: bool = Field(True, description="Bedrock: mark instructions and tools as cacheable.")
    bedrock_guardrail_id: str = Field("", description="Bedrock guardrail to apply; empty for none.")
    bedrock_guardrail_version: str = Field("DRAFT", description="Version of that guardrail.")

    # --- speech recognition
    stt_model: str = Field(
        "tiny.en", min_length=1, description="Whisper model: a name from `voicefleet models list` or a folder."
    )
    stt_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where it runs: int8 on cpu, float16 on cuda."
    )
    stt_language: str = Field(
        "en", pattern=r"^([a-z]{2,3})?$", description="ISO 639-1 code; empty lets a multilingual model detect it."
    )
    stt_prompt: str = Field("", max_length=800, description="Names and terms that recognition should expect.")
    stt_address: str = Field(
        "", description="gRPC address of an STT worker that something else runs; empty starts one."
    )

    # --- voice
    tts: Literal["hibari", "chatterbox"] = Field(
        "hibari",
        description="Speech synthesis engine: hibari for a CPU, chatterbox (an extra, see docs/voice.md) for GPUs.",
    )
    tts_voice: str = Field(
        "", description="Voice of a session that names none, or one unknown; empty: the engine's default."
    )
    tts_voices: str = Field(
        "",
        description="chatterbox: folder or `s3://BUCKET/PREFIX` of reference clips (5 to 15 s) and saved voices (.pt).",
    )
    tts_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="chatterbox: where it runs; auto is cuda in half precision, cpu has to be asked for."
    )
    tts_streams: int = Field(
        0,
        ge=0,
        le=1024,
        description="chatterbox: streams at once at most; 0 takes what half of the free GPU memory holds.",
    )
    tts_flow: Literal["windowed", "chunked"] = Field(
        "windowed",
        description="chatterbox: how a hop sees what was before; chunked costs less, but is not what the weights know.",
    )
    tts_watermark: bool = Field(True, description="chatterbox: mark what is spoken as synthetic (Perth), inaudibly.")
    tts_address: InOrder = Field(
        (),
        description="gRPC addresses of the TTS workers that something else runs, comma-separated; empty starts one.",
    )
    tts_ca_file: Path | None = Field(
        None, description="Certificates (PEM) to trust; with it the gateway speaks TLS to TTS workers on TCP."
    )
    worker_token: LongSecret | None = Field(
        None,
        description="Secret (at least 32 bytes) that a worker on TCP asks for and the gateway shows to TTS workers.",
    )

    # --- models
    model_dir: Path = Field(
        Path("~/.cache/voicefleet/models"), description="Where models are kept; on a node, a folder on the NVMe disk."
    )
    model_local: Path | None = Field(None, description="Folder to copy models from before any other source is tried.")
    model_s3: str = Field(
        "", pattern=r"^(s3://\S+)?$", description="`s3://BUCKET/PREFIX` to fetch models from before the public sources."
    )

    # --- fleet
    fleet_group: str = Field(
        "",
        max_length=255,
        description="Auto Scaling group that this node lives in; empty: not in a group, and its life cycle is off.",
    )

    # --- running
    run_dir: Path | None = Field(
        None, description="Folder of the workers' sockets; by default a private temporary one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line to write."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("VOICE_TLS_CERT and VOICE_TLS_KEY go together; got only one of them")
        if not (self.needs_auth or is_loopback(self.host)):
            raise ValueError(
                f"VOICE_HOST: got {self.host!r}, which others can reach; takes a loopback address such as 127.0.0.1 "
                "unless there are VOICE_API_KEYS, a VOICE_TOKEN_SECRET or a VOICE_KEYS_SECRET"
            )
        has_key = self.llm_api_key is not None and self.llm_api_key.get_secret_value() != ""
        if has_key and self.llm != without_user(self.llm):
            raise ValueError(
                "VOICE_LLM and VOICE_LLM_API_KEY: got a user in the URL and a key, and a request carries one of them; "
                "takes either the one or the other"
            )
        if self.port and self.port == self.http_port:
            raise ValueError(f"VOICE_HTTP_PORT: got {self.http_port}, which is VOICE_PORT too; takes another port")
        bare = [address for address in self.tts_address if not is_local(address)]
        if bare and self.worker_token is not None and self.tts_ca_file is None:
            raise ValueError(
                f"VOICE_TTS_ADDRESS: got {bare[0]!r}, to which VOICE_WORKER_TOKEN would go unencrypted; takes "
                "addresses of this machine unless there is a VOICE_TTS_CA_FILE"
            )
        return self

    @property
    def effective_speculation(self) -> Literal["off", "stt", "full"]:
        """`speculation`, or what suits this machine: an answer in vain must not take the CPU from those in use."""
        if self.speculation != "auto":
            return self.speculation
        # The local model takes one core while it thinks; on two, four calls were answered sooner with it ahead.
        cramped = self.llm == "local" and len(os.sched_getaffinity(0)) == 1
        return "stt" if cramped else "full"

    @property
    def needs_auth(self) -> bool:
        """Whether a caller has to show a key or a token."""
        return bool(self.api_keys or self.keys_secret) or self.token_secret is not None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load_settings` lays the sources over one another, command line uppermost."""
        return (init_settings,)


def load_settings(config: Path | None = None, **options: Any) -> Settings:
    """Settings from the options given on the command line, else `VOICE_*` variables, else the TOML file, else defaults.

    `config` is the TOML file (or the one that VOICE_CONFIG names); None among `options` means not given.
    Raises `SettingsError`.
    """
    path = config or (Path(os.environ["VOICE_CONFIG"]) if os.environ.get("VOICE_CONFIG") else None)
    given = {name: value for name, value in options.items() if value is not None}
    _refuse_unknown_variables()
    try:
        return Settings(**(_read_toml(path) | EnvSettingsSource(Settings)() | given))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, PREFIX)) from None


def _read_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"config: got {str(path)!r}, which can't be read ({error.strerror}); takes a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"config: got {str(path)!r}, which is not TOML ({error}); takes a TOML file") from None


def _refuse_unknown_variables() -> None:
    """A misspelled variable would silently be a default otherwise."""
    fields = [*Settings.model_fields, "config"]
    unknown = sorted({name for name in os.environ if name.startswith(PREFIX)} - set(map(_variable, fields)))
    if unknown:
        raise SettingsError("\n".join(no_such_setting(name, fields, PREFIX, _variable) for name in unknown))


def _variable(field: str) -> str:
    return PREFIX + field.upper()
