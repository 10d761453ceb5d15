"""What a language model's server says when it takes no request: what kind of failure it is, which field it minds, and
when it takes the next.

Pure. The text of an error may quote the prompt; so it is searched, and only a code that is a plain word is passed on.
"""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from server.llm.decoding import Undecodable, from_json, to_text
from server.llm.interface import LlmFailure

# In the words of OpenAI, vLLM, llama.cpp, TGI, Mistral, Anthropic, Google, Bedrock and Ollama.
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|(?:prompt|input) is too long|too many (?:input |total )?tokens"
    r"|input tokens? exceed|token count\b.{0,40}\bexceeds|exceeds? the (?:maximum|available) (?:number of )?tokens"
    r"|`inputs` tokens|too large for model|request_too_large",
    re.IGNORECASE,
)
_NOT_TAKEN = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|extra|deprecated|(?:not|n't) (?:permitted|supported?|allowed)",
    re.IGNORECASE,
)
_CODE = re.compile(r"\w{1,50}")
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")  # whole ones, says the standard; not every server keeps to it


def failure_of(body: Any, status: int = 400) -> tuple[LlmFailure, str]:
    """The failure that the decoded body of a refusal (or an error inside a stream) tells, and the code in it.

    The code is a word such as "model_not_found", or "no code".
    """
    code = _code(body)
    if status not in (401, 403, 429) and (status == 413 or is_too_long(f"{code} {_message(body)}")):
        return "context_length_exceeded", code
    if status == 429 or code in ("rate_limit_exceeded", "429"):
        return "throttled", code
    if status in (408, 504):
        return "timeout", code
    if status >= 500 or re.fullmatch(r"5\d\d|server_error|overloaded(?:_error)?|internal_server_error", code):
        return "unavailable", code
    return "invalid_request", code


def is_too_long(text: str) -> bool:
    """Whether an error's words say that the request holds more than the model can read."""
    return _TOO_LONG.search(text) is not None


def retry_after(value: str, now: datetime) -> float:
    """The seconds from `now` that a `Retry-After` header asks for, as a number or a date (RFC 9110, 10.2.3).

    0 for a date that has passed, and for a value that is neither.
    """
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    date = date if date.tzinfo else date.replace(tzinfo=UTC)  # all dates of HTTP are of GMT
    return max(0.0, (date - now).total_seconds())


def refused_field(body: Any, fields: Collection[str]) -> str:
    """Which of `fields`, all of them optional, the refusal is about; empty: none of them."""
    error = _error(body)
    named = error.get("param") if isinstance(error, Mapping) else None
    if isinstance(named, str) and named in fields:
        return named
    message = _message(body)
    if not _NOT_TAKEN.search(message):
        return ""
    return next((name for name in fields if re.search(rf"\b{name}\b", message)), "")


def decoded(body: bytes) -> Any:
    """The JSON in a refusal's body, else its text."""
    try:
        return from_json(body)
    except Undecodable:
        return body.decode(errors="replace")


def _error(body: Any) -> Any:
    return body.get("error", body) if isinstance(body, Mapping) else body


def _code(body: Any) -> str:
    error = _error(body)
    values = [error.get(name) for name in ("code", "type", "error_type")] if isinstance(error, Mapping) else []
    codes = [to_text(value) for value in values if isinstance(value, str | int)]
    return next((code for code in codes if _CODE.fullmatch(code)), "no code")


def _message(body: Any) -> str:
    """Everything that is said, wherever the server put it."""
    error = _error(body)
    if isinstance(error, str):
        return error
    return to_text([error.get(name) for name in ("message", "type", "detail")] if isinstance(error, Mapping) else error)
