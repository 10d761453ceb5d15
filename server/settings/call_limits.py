"""Settings: what one call may take of the node."""

from pydantic import BaseModel, Field

from server.limits import Limits


class CallLimitSettings(BaseModel):
    """Those of `Limits`, by the same names, and the size of a message."""

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
