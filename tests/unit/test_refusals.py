"""What servers say when they refuse a request, each in its own words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from server.llm.refusals import decoded, failure_of, refused_field, retry_after

TOO_LONG: list[tuple[int, Any]] = [
    (400, {"error": {"message": "no", "code": "context_length_exceeded"}}),
    (400, {"error": {"message": "This model's maximum context length is 8192 tokens. However, ...", "code": None}}),
    (
        400,
        {"object": "error", "message": "maximum context length is 4096 tokens", "type": "BadRequestError", "code": 400},
    ),
    (400, {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it"}}),
    (500, {"error": {"code": 500, "message": "the request exceeds the available context size"}}),
    (
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
            "error_type": "validation",
        },
    ),
    (
        400,
        {"error": {"type": "invalid_request_error", "message": "prompt is too long: 208310 tokens > 200000 maximum"}},
    ),
    (
        400,
        {
            "error": {
                "message": "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576)."
            }
        },
    ),
    (400, {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"}),
    (413, {"error": {"message": "Request Entity Too Large"}}),
    (413, "<html>too large</html>"),
    (400, "Input is too long for requested model."),
]


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_a_request_that_is_too_long_is_known_in_every_servers_words(status: int, body: Any) -> None:
    """livekit/agents#3304: a history beyond the model's context."""
    assert failure_of(body, status)[0] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("status", "body", "failure", "code"),
    [
        (400, {"error": {"message": "no", "code": "bad_thing"}}, "invalid_request", "bad_thing"),
        (404, {"error": {"message": "no", "code": "model_not_found"}}, "invalid_request", "model_not_found"),
        (
            400,
            {"error": {"message": "no", "code": None, "type": "invalid_request_error"}},
            "invalid_request",
            "invalid_request_error",
        ),
        (400, {"error": "no"}, "invalid_request", "no code"),
        (400, {"error": {"code": "a b; c"}}, "invalid_request", "no code"),
        (400, None, "invalid_request", "no code"),
        (400, [1], "invalid_request", "no code"),
        (401, {"error": {"message": "context window"}}, "invalid_request", "no code"),
        (
            429,
            {"error": {"message": "Request too large for gpt: tokens per min", "code": "rate_limit_exceeded"}},
            "throttled",
            "rate_limit_exceeded",
        ),
        (408, {}, "timeout", "no code"),
        (504, "", "timeout", "no code"),
        (503, "<html>", "unavailable", "no code"),
        (400, {"error": {"code": 503, "message": "overloaded"}}, "unavailable", "503"),
        (400, {"error": {"type": "overloaded_error"}}, "unavailable", "overloaded_error"),
    ],
)
def test_the_failure_follows_from_the_status_and_the_code(status: int, body: Any, failure: str, code: str) -> None:
    assert failure_of(body, status) == (failure, code)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"error": {"message": "no", "param": "reasoning_effort"}}, "reasoning_effort"),
        ({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model."}}, "max_tokens"),
        ({"error": {"message": "Unrecognized request argument supplied: parallel_tool_calls"}}, "parallel_tool_calls"),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}, "stream_options"),
        ({"error": {"message": "reasoning_effort: Extra inputs are not permitted"}}, "reasoning_effort"),
        ({"error": {"message": "You said: what is the temperature?"}}, ""),
        ({"error": {"message": "no", "param": "messages"}}, ""),
        ("no", ""),
    ],
)
def test_the_field_that_a_server_minds_is_found(body: Any, field: str) -> None:
    fields = ("reasoning_effort", "parallel_tool_calls", "temperature", "stream_options", "max_tokens")
    assert refused_field(body, fields) == field


@pytest.mark.parametrize(
    ("body", "meant"),
    [(b'{"a": 1}', {"a": 1}), (b"<html>", "<html>"), (b"\xff", "\N{REPLACEMENT CHARACTER}"), (b"", "")],
)
def test_a_body_may_be_anything(body: bytes, meant: Any) -> None:
    assert decoded(body) == meant


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("9" * 5000, float("inf")),
        ("Tue, 01 Dec 2026 02:00:30 GMT", 30.0),
        ("Tue, 01 Dec 2026 02:00:30", 30.0),
        ("Tuesday, 01-Dec-26 02:00:30 GMT", 30.0),
        ("Tue, 01 Dec 2026 03:00:30 +0100", 30.0),
        ("Tue, 01 Dec 2026 01:59:59 GMT", 0.0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone_is_said_in_seconds_or_as_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, datetime(2026, 12, 1, 2, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("value", ["", "soon", "-3", "inf", "nan", "1e3", "Tue, 99 Dec 2026 02:00:30 GMT", "\x00", "٣"])
def test_what_is_neither_asks_for_nothing(value: str) -> None:
    assert retry_after(value, datetime(2026, 12, 1, tzinfo=UTC)) == 0.0


def test_a_date_of_an_absurd_zone_asks_for_nothing() -> None:
    assert retry_after("Tue, 01 Dec 2026 02:00:30 +" + "9" * 20, datetime(2026, 12, 1, tzinfo=UTC)) == 0.0
