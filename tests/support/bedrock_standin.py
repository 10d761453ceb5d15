"""A stand-in for Bedrock's ConverseStream over real sockets, as strict with requests as the service is.

async with BedrockStandin(answer=lambda request: "Hello.") as standin:
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", standin.url)
"""

import asyncio
import itertools
import json
import re
import ssl
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.support.openai_llm_standin import CutOff, Stall, ToolCallAnswer

Request = dict[str, Any]


@dataclass(frozen=True)
class ServiceError:
    """No answer but an error: its HTTP status and code, such as 429 and "ThrottlingException", and its words."""

    status: int
    code: str
    message: str = "no"


@dataclass(frozen=True)
class StreamError:
    """Says `text`, then the stream carries an exception, such as "throttlingException"."""

    text: str
    code: str


@dataclass(frozen=True)
class Silence:
    """Takes the request and does not even send headers."""


@dataclass(frozen=True)
class Events:
    """Sends these events as they are, each a kind and its payload, which may be no JSON; then a whole answer's end."""

    events: Iterable[tuple[str, bytes]]
    usage: Mapping[str, Any] = field(default_factory=dict)


Answer = str | ToolCallAnswer | ServiceError | StreamError | Stall | CutOff | Silence | Events


class BedrockStandin:
    """The server. `requests` holds each request's body with its model id as "modelId", those it refuses too; `regions`
    the region that each was meant for.

    `finished` counts answers sent to their end, `cancelled` those whose caller hung up first, `connections` the
    different connections that came. Requests signed by a key that is not among `key_ids` are refused; None takes all.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Request], Answer] = lambda _: "Hello there.",
        token_seconds: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.token_seconds = token_seconds
        self.requests: list[Request] = []
        self.regions: list[str] = []
        self.finished = 0
        self.cancelled = 0
        self.connections: set[tuple[str, int]] = set()
        self.url = ""
        self.key_ids: set[str] | None = None
        self._tls = tls
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/model/{model}/converse-stream", self._converse)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme, host = ("https", "localhost") if self._tls else ("http", "127.0.0.1")
        self.url = f"{scheme}://{host}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def until(self, condition: Callable[[Self], bool], timeout: float = 20.0) -> None:
        """Wait until `condition(standin)` holds, such as `lambda standin: standin.cancelled == 1`."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _converse(self, http: web.Request) -> web.StreamResponse:
        request = await http.json() | {"modelId": http.match_info["model"]}
        self.requests.append(request)
        assert http.transport is not None
        self.connections.add(http.transport.get_extra_info("peername"))
        await self._notify()
        answer = ServiceError(400, "ValidationException") if (wrong := fault(request)) else self.answer(request)
        signed_by = re.search(r"Credential=(\w+)/\d+/([\w-]+)/", http.headers.get("Authorization", ""))
        self.regions += [signed_by[2]] if signed_by else []
        if self.key_ids is not None and (signed_by is None or signed_by[1] not in self.key_ids):
            answer = ServiceError(403, "ExpiredTokenException")
        if isinstance(answer, ServiceError):
            return web.json_response(
                {"message": wrong or answer.message}, status=answer.status, headers={"x-amzn-ErrorType": answer.code}
            )
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.amazon.eventstream"})
        try:
            if isinstance(answer, Silence):
                await asyncio.Event().wait()
            await response.prepare(http)
            for frame in _frames(answer):
                await response.write(frame)
                await asyncio.sleep(self.token_seconds)
            if isinstance(answer, CutOff):
                http.transport.abort()
            elif isinstance(answer, Stall):
                await asyncio.Event().wait()
            self.finished += 1
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        finally:
            await asyncio.shield(self._notify())
        return response


def fault(request: Request) -> str:
    """What the service would refuse in `request`; empty if nothing."""
    messages = request["messages"]
    roles = [message["role"] for message in messages]
    if not roles or roles[0] != "user":
        return "A conversation must start with a user message."
    if any(one == other for one, other in itertools.pairwise(roles)):
        return "A conversation must alternate between user and assistant roles."
    if roles[-1] != "user":
        return "The model does not support assistant message prefill."
    blocks = [block for message in messages for block in message["content"]]
    texts = [block["text"] for block in [*blocks, *request.get("system", [])] if "text" in block]
    if not all(text.strip() for text in texts) or not all(message["content"] for message in messages):
        return "The text field in the ContentBlock object is blank."
    if not 0 <= request.get("inferenceConfig", {}).get("temperature", 0) <= 1:
        return "The value at inferenceConfig.temperature must be between 0 and 1."
    return _tool_fault(request, messages)


def _tool_fault(request: Request, messages: list[dict[str, Any]]) -> str:
    asked: list[str] = []
    seen: set[str] = set()
    for message in messages:
        uses = [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]
        results = [block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block]
        if sorted(results) != sorted(asked):
            return "Expected toolResult blocks for exactly the toolUse blocks of the previous turn."
        if seen & set(uses) or len(set(uses)) != len(uses):
            return "The messages contain duplicate toolUse ids."
        if not all(re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", use) for use in uses):
            return "Value at toolUseId failed to satisfy constraint."
        seen |= set(uses)
        asked = uses
    tools = [tool["toolSpec"] for tool in request.get("toolConfig", {}).get("tools", []) if "toolSpec" in tool]
    if seen and not tools:
        return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    if any(not tool.get("description", "-") or tool["inputSchema"]["json"].get("type") != "object" for tool in tools):
        return "The value at toolConfig.tools.member.toolSpec is not valid."
    choice = request.get("toolConfig", {}).get("toolChoice", {})
    if "tool" in choice and choice["tool"]["name"] not in {tool["name"] for tool in tools}:
        return "The toolChoice names no tool of toolConfig.tools."
    return ""


def _frames(answer: str | ToolCallAnswer | StreamError | Stall | CutOff | Silence | Events) -> Iterator[bytes]:
    if isinstance(answer, Events):
        yield from (_raw_frame(kind, payload) for kind, payload in answer.events)
        yield _frame("messageStop", {"stopReason": "end_turn"})
        yield _frame("metadata", {"usage": answer.usage})
        return
    text = answer if isinstance(answer, str) else getattr(answer, "text", "")
    yield _frame("messageStart", {"role": "assistant"})
    words = re.findall(r"\s*\S+|\s+$", text)
    for word in words:
        yield _frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": word}})
    if isinstance(answer, StreamError):
        yield _frame(answer.code, {"message": "no"}, "exception")
    if isinstance(answer, StreamError | Stall | CutOff):
        return
    yield _frame("contentBlockStop", {"contentBlockIndex": 0})
    if isinstance(answer, ToolCallAnswer):
        yield from _tool_use(answer.name, answer.arguments)
    reason = "tool_use" if isinstance(answer, ToolCallAnswer) else "end_turn"
    yield _frame("messageStop", {"stopReason": reason})
    usage = {"inputTokens": 10, "outputTokens": len(words), "totalTokens": 15 + len(words), "cacheReadInputTokens": 5}
    yield _frame("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})


def _tool_use(name: str, arguments: Mapping[str, Any]) -> Iterator[bytes]:
    start = {"toolUse": {"toolUseId": "tooluse_1", "name": name}}
    yield _frame("contentBlockStart", {"contentBlockIndex": 1, "start": start})
    for piece in re.findall(r".{1,5}", json.dumps(arguments) if arguments else ""):
        yield _frame("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": piece}}})
    yield _frame("contentBlockStop", {"contentBlockIndex": 1})


def _frame(kind: str, payload: Mapping[str, Any], message_type: str = "event") -> bytes:
    return _raw_frame(kind, json.dumps(payload).encode(), message_type)


def _raw_frame(kind: str, body: bytes, message_type: str = "event") -> bytes:
    """One message of `application/vnd.amazon.eventstream`: lengths, CRC, headers (type 7: string), payload, CRC."""
    names = {":message-type": message_type, f":{message_type}-type": kind, ":content-type": "application/json"}
    headers = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in names.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack(">I", zlib.crc32(message))
