"""Settings: what the caller is answered, and by which language model."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from server.settings.field_types import ChangedLines, InOrder

_LLM_TAKES = "'local', 'bedrock:MODEL_ID', 'bedrock:MODEL_ID@REGION' or 'openai:MODEL@URL'"
_LLM_PATTERN = re.compile(r"local|bedrock:[^\s@]+(?:@[a-z]{2}(?:-[a-z]+)+-\d+)?|openai:\S+@(?P<url>https?://\S+)")
_HEADER_VALUE = re.compile(r"[!-~]*")


def _models(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        match = _LLM_PATTERN.fullmatch(name)
        if not match or (match["url"] and not _is_usable(match["url"])):
            raise ValueError(f"takes {_LLM_TAKES}, or several of these, comma-separated")
    if not names or len(set(names)) < len(names):
        raise ValueError("takes at least one language model, and each of them once")
    return names


def _is_usable(url: str) -> bool:
    """Whether `url` has a host, and a port that is a number if it has any."""
    try:
        address = urlsplit(url)
        return bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        return False


def _header_secret(secret: SecretStr) -> SecretStr:
    if not _HEADER_VALUE.fullmatch(secret.get_secret_value()):
        raise ValueError("takes letters, digits and marks of ASCII, without blanks and line ends")
    return secret


HeaderSecret = Annotated[SecretStr, AfterValidator(_header_secret)]


class AnswerSettings(BaseModel):
    """The conversation and its language model."""

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

    spoken_lines: ChangedLines = Field(
        {},
        description="What callers hear in place of an answer that fails (docs/failover.md), where it is to differ from "
        'the bundled lines: by language and kind, such as `{"en": {"failed": "One moment, please."}}`. An empty text '
        "is not said.",
    )

    # --- language model
    llm: Annotated[InOrder, AfterValidator(_models)] = Field(
        ("local",),
        description=f"The language model: {_LLM_TAKES}. Several, comma-separated, stand in for one another, the first "
        "choice first (docs/failover.md). Redirects of a server are not followed.",
    )
    llm_api_key: HeaderSecret | None = Field(
        None,
        description="Bearer key for `openai:MODEL@URL`. For models of several servers a key each, comma-separated, in "
        "the order of VOICE_LLM; one may be empty.",
    )
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
    llm_images: bool = Field(
        False,
        description="Whether the models of VOICE_LLM take images (input_image). Where they don't, an image would fail "
        "every answer after it; so it is refused. The node's own model is told that there was one.",
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
