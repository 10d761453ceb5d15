"""The settings of one response, from a client's `response.create` into what the conversation takes. Pure."""

from dataclasses import replace

from server.conversation.config import ResponseConfig
from server.dialects.openai.client_events import ResponseAudio, ResponseAudioOutput, ResponseParams
from server.dialects.openai.session import (
    audio_format,
    llm_tools,
    modality,
    token_limit,
    tool_choice,
    tool_filler,
    voice_name,
)


def response_config(params: ResponseParams, own: ResponseConfig) -> ResponseConfig:
    """What `params` ask for; where they say nothing, as in `own`, the session's."""
    output = (params.audio or ResponseAudio()).output or ResponseAudioOutput()
    given = {
        "instructions": params.instructions,
        "tools": None if params.tools is None else llm_tools(params.tools),
        "tool_choice": None if params.tool_choice is None else tool_choice(params.tool_choice),
        "modality": None if params.output_modalities is None else modality(params.output_modalities),
        "voice": None if output.voice is None else voice_name(output.voice),
        "output_format": None if output.format is None else audio_format(output.format),
        "temperature": params.x_temperature,
        "parallel_tool_calls": params.parallel_tool_calls,
        "reasoning_effort": params.reasoning.effort if params.reasoning else None,
        "metadata": params.metadata,
        "in_conversation": False if params.conversation == "none" else None,
        "interruptible": params.x_interruptible,
        "tool_filler": tool_filler(params.x_tool_filler),
    }
    if params.max_output_tokens is not None:  # "inf" lifts the session's limit
        own = replace(own, max_output_tokens=token_limit(params.max_output_tokens))
    return replace(own, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # names and types are ResponseConfig's, above
