"""A client's changes of a session's settings, checked against what the node can do. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from server.dialects.dialect import Abilities
from server.dialects.openai.client_errors import ClientError, explain
from server.dialects.openai.session import Session, languages
from server.dialects.openai.session_parts import McpTool, Tool
from server.limits import Limits

_MCP_REFUSED = "MCP tools are not supported; declare them as function tools, which your application runs"
_TOOLS_REFUSED = (
    "the node's language model calls no functions, and would answer as if there were none; "
    "VOICE_LLM takes a model that does"
)


def change_session(session: Session, patch: Mapping[str, Any], abilities: Abilities, limits: Limits) -> Session:
    """`session` with a client's partial settings, in their GA names. Raises `ClientError` and `LimitExceeded`."""
    try:
        changed = session.updated(dict(patch))
    except msgspec.ValidationError as error:
        raise explain(error, "session.update", Session, "session.") from None
    check_tools(changed.tools, "session.tools", abilities, limits)
    size = len(msgspec.json.encode(changed))
    limits.check("max_settings_bytes", size, f"settings of {size:,} bytes as JSON")
    if abilities.languages is not None and (transcription := changed.audio.input.transcription):
        for language in set(languages(transcription)) - abilities.languages:
            raise ClientError(
                "invalid_value",
                f"session.update: the node's recogniser lacks the language {language[:16]!r}; "
                f"takes {', '.join(map(repr, sorted(abilities.languages)))}",
                "session.audio.input.transcription.language",
            )
    return changed


def check_tools(tools: Sequence[Tool], param: str, abilities: Abilities, limits: Limits) -> None:
    """Raises `ClientError` or `LimitExceeded` for tools that the node can't honour; `param` is where they stand."""
    limits.check("max_tools", len(tools), f"{len(tools):,} tools")
    for index, tool in enumerate(tools):
        if isinstance(tool, McpTool):
            raise ClientError("mcp_not_supported", _MCP_REFUSED, f"{param}[{index}]")
    if tools and not abilities.calls_functions:
        raise ClientError("tools_not_supported", _TOOLS_REFUSED, param)
