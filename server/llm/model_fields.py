"""What one family of Bedrock's models takes and Converse has no words of its own for: `additionalModelRequestFields`.

Pure. A family that is not named here takes none of it, and is sent none. Sources: Amazon Nova 2 user guide (extended
thinking), Anthropic's documentation of effort and of parallel tool use, OpenAI's gpt-oss on Bedrock.
"""

import re
from typing import Any

from server.llm.interface import ChatRequest, ReasoningEffort

_THREE_LEVELS: dict[ReasoningEffort, str] = {"minimal": "low", "low": "low", "medium": "medium"}  # all above: high
# Models from before these think with a budget of tokens, and then want their thoughts back with each tool result.
_CLAUDE_WITH_EFFORT = re.compile(r"claude-(?:opus|sonnet|haiku)-(?:4-[6-9]|[5-9])")
_CLAUDE_ONE_CALL = re.compile(r"claude-(?:opus|sonnet|haiku)-[4-9]")


def model_fields(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """The fields for `request`'s reasoning effort and parallel tool calls, as far as the model takes them."""
    fields: dict[str, Any] = {}
    effort = request.reasoning_effort
    if effort is not None:
        level = _THREE_LEVELS.get(effort, "high")
        if "nova-2" in model_id:
            enabled = {"type": "enabled", "maxReasoningEffort": level}
            fields["reasoningConfig"] = {"type": "disabled"} if effort == "none" else enabled
        elif "gpt-oss" in model_id:
            fields["reasoning_effort"] = "low" if effort == "none" else level
        elif _CLAUDE_WITH_EFFORT.search(model_id):
            if effort == "none":
                fields["thinking"] = {"type": "disabled"}
            else:
                fields["output_config"] = {"effort": level}
    # With a forced choice of a tool in the request itself, Converse refuses a second one here.
    one_call = request.parallel_tool_calls is False and request.tools and request.tool_choice == "auto"
    if one_call and _CLAUDE_ONE_CALL.search(model_id):
        fields["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    return fields
