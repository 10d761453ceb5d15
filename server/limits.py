"""What one call may take of its node, so that no caller takes it from the others, by mistake or on purpose.

Pure. Each limit is a setting of the same name; no honest application meets its default. What a call may send, and how
much of the event loop it may use, are rates (`server.access.rate_limit`); everything else is an amount.
"""

from dataclasses import dataclass, fields
from typing import Literal, Self

from server.errors import VoicefleetError

Amount = Literal[
    "max_items",
    "max_parts",
    "max_conversation_bytes",
    "max_request_bytes",
    "max_settings_bytes",
    "max_tools",
    "max_responses_beside",
]


Rate = Literal["max_messages_per_second", "max_pings_per_second", "max_loop_share"]


class LimitExceeded(VoicefleetError):
    """The caller asked for more than a call may have; nothing was done. `limit` is the setting."""

    code = "limit_exceeded"

    def __init__(self, limit: Amount, got: str, takes: float) -> None:
        super().__init__(f"got {got}; takes at most {takes:,} (VOICE_{limit.upper()})")
        self.limit = limit


@dataclass(frozen=True)
class Limits:
    """The limits of every call, with their defaults. Bytes are those of UTF-8, the share is a fraction of a core."""

    audio_rate: float = 4.0
    audio_burst_seconds: float = 120.0
    max_items: int = 10_000
    max_parts: int = 100
    max_conversation_bytes: int = 8_388_608
    max_request_bytes: int = 4_194_304
    max_settings_bytes: int = 1_048_576
    max_tools: int = 512
    max_responses_beside: int = 8
    max_waiting_audio_seconds: float = 300.0
    max_answer_seconds: float = 300.0
    max_messages_per_second: float = 1000.0
    max_pings_per_second: float = 10.0
    max_loop_share: float = 0.25

    @classmethod
    def of(cls, settings: object) -> Self:
        """Those that the node's settings say."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})

    def check(self, limit: Amount, value: int, got: str) -> None:
        """Raises `LimitExceeded` for a `value` over the limit; `got` describes it."""
        most = getattr(self, limit)
        if value > most:
            raise LimitExceeded(limit, got, most)
