"""SmolLM2 inside this process, for a conversation without any account.

llama.cpp's own threads serve it on a loopback port behind a random key, outside Python's lock; answers travel as
OpenAI-compatible events. It offers no tools (a model of this size fills them with nonsense; a session that has some is
refused) and forgets the oldest messages of a conversation that outgrows its context.
"""

import asyncio
import contextlib
import math
import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

from server.llm.history import well_formed
from server.llm.interface import (
    ChatMessage,
    ChatRequest,
    LlmError,
    LlmEvent,
    SystemText,
    ToolCall,
    ToolResult,
    UserText,
)
from server.llm.openai_compatible import OpenAiCompatibleProvider
from server.llm.shortening import message_tokens, text_tokens

_SLOTS = 4  # answers written at a time; others wait
_MAX_PROMPT_TOKENS = 768  # a prompt that is not cached is read at about 100 tokens a second
_MAX_ANSWER_TOKENS = 160  # a minute of speech: small models ramble
_MARGIN_TOKENS = 96
_PROMPT_CACHE_MIB = 256
_UNSEEN = "(With an image that you can't see.)"
_TEMPERATURE = 0.2  # more makes a model of this size talk nonsense


class LocalProvider:
    """SmolLM2 from the GGUF file `model`; `instructions` are what most requests will begin with."""

    def __init__(self, model: Path, instructions: str = "") -> None:
        self._model = model
        self._instructions = instructions
        self._server: Any = None
        self._client: OpenAiCompatibleProvider | None = None

    async def warm_up(self) -> None:
        """Load the model and read the instructions into its prompt cache (about 2 s). Raises `LlmError`."""
        key = secrets.token_urlsafe()
        self._server = await asyncio.to_thread(_serve, self._model, key)
        url = f"{self._server.listening_address}/v1"
        # llama.cpp hangs up after each streamed answer, though it says "keep-alive".
        self._client = OpenAiCompatibleProvider("smollm2", url, key, reuse_connections=False)
        await asyncio.gather(*(self._read_instructions() for _ in range(_SLOTS)))

    async def _read_instructions(self) -> None:
        request = ChatRequest(self._instructions, [UserText("Hello.")], max_output_tokens=1)
        async with contextlib.aclosing(self.stream(request)) as events:
            async for _ in events:
                pass

    async def close(self) -> None:
        """Stop the model's threads and free its memory."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        self._server = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`; see `LlmProvider.stream`. Tools are not offered to the model."""
        if self._client is None:
            raise LlmError("unavailable", "the local language model is not loaded")
        async with contextlib.aclosing(self._client.stream(fit(request))) as events:
            async for event in events:
                yield event


def _serve(model: Path, key: str) -> Any:
    """llama.cpp's server on a free loopback port. Takes as long as the model takes to load."""
    try:
        import xllamacpp  # noqa: PLC0415  # 100 MB of libraries that only this provider needs
    except ImportError as error:  # its wheel asks the system for libgomp, which not every one has
        raise LlmError("invalid_request", f"the local language model's library can't be loaded: {error}") from None

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_parallel = _SLOTS
    params.n_ctx = _SLOTS * (_MAX_PROMPT_TOKENS + _MAX_ANSWER_TOKENS + _MARGIN_TOKENS)
    # One thread: llama.cpp's threads wait for each other by spinning, which on a busy machine costs seconds.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.api_keys = [key]
    params.endpoint_slots = False
    params.ui = False
    params.verbosity = -1
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        raise LlmError("unavailable", f"the local language model can't be loaded from {model.name!r}") from None
    # A server that has answered once can be ended at any time; one that was only loaded may wait for itself for ever.
    server.handle_completions({"prompt": "a", "n_predict": 1})
    return server


def fit(request: ChatRequest) -> ChatRequest:
    """`request` without tools, cut down to what the model can read in time, with an answer of sensible length.

    The oldest messages go first, half of what there is room for at a time: the turns in between then share their
    beginning, which llama.cpp need not read again.
    """
    instructions = _shortened(request.instructions, _MAX_PROMPT_TOKENS // 2)
    room = _MAX_PROMPT_TOKENS - message_tokens(SystemText(instructions))
    # A result whose call is gone becomes the user's words in `well_formed`.
    messages = well_formed(
        [_without_images(message) for message in request.messages if not isinstance(message, ToolCall)]
    )
    sizes = [message_tokens(message) for message in messages]
    block = room // 2
    surplus = math.ceil(max(0, sum(sizes) - room) / block) * block
    while surplus > 0 and len(messages) > 1:
        surplus -= sizes.pop(0)
        del messages[0]
    if sizes and sizes[0] > room:
        messages = [UserText(_shortened(_text(messages[0]), room - message_tokens(UserText(""))))]
    return replace(
        request,
        instructions=instructions,
        messages=messages,
        tools=(),
        tool_choice="auto",
        max_output_tokens=min(request.max_output_tokens or _MAX_ANSWER_TOKENS, _MAX_ANSWER_TOKENS),
        temperature=_TEMPERATURE if request.temperature is None else request.temperature,
        reasoning_effort=None,
    )


def _without_images(message: ChatMessage) -> ChatMessage:
    if isinstance(message, UserText) and message.images:
        return UserText(f"{message.text} {_UNSEEN}".strip())
    return message


def _shortened(text: str, tokens: int) -> str:
    """The beginning of `text` that fits into `tokens`."""
    while (size := text_tokens(text)) > tokens:
        text = text[: len(text) * tokens // size]
    return text


def _text(message: ChatMessage) -> str:
    match message:
        case ToolResult(_, text) | ToolCall(_, _, text):
            return text
    return message.text
