"""A stand-in for an OpenAI-compatible language model: deterministic answers over real sockets.

In a test:

    async with OpenAiStandin(answer=by_rules({"weather": ToolCallAnswer("get_weather", {"city": "Paris"})})) as standin:
        provider = OpenAiCompatibleProvider("any", standin.url)

By hand: `python -m tests.support.openai_llm_standin --port 8080`, then `VOICE_LLM=openai:any@http://127.0.0.1:8080/v1`.
"""

import argparse
import asyncio
import itertools
import json
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

# Before a connection breaks what was sent is read: aiohttp forgets whatever it has not given out by then.
_READ_SECONDS = 0.3


@dataclass(frozen=True)
class ToolCallAnswer:
    """The model calls `name`, perhaps after saying `text`. Several in a list are parallel calls."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class Refusal:
    """No answer but an HTTP status, an error code and the field it is about. Its message quotes the prompt.

    `retry_after` is the header of that name.
    """

    status: int
    code: str | None = None
    param: str | None = None
    retry_after: str = ""


@dataclass(frozen=True)
class Stall:
    """Says `text`, then nothing more; the connection stays open."""

    text: str = ""


@dataclass(frozen=True)
class CutOff:
    """Says `text`, then breaks the connection."""

    text: str = ""


@dataclass(frozen=True)
class Raw:
    """Sends these `data` lines as they are."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Verbatim:
    """Sends these blocks of the body as they are, each for a token; with `encoding`, under that Content-Encoding."""

    blocks: Iterable[bytes]
    encoding: str = ""


@dataclass(frozen=True)
class Redirect:
    """Sends the caller elsewhere."""

    status: int
    location: str


Answer = str | ToolCallAnswer | list[ToolCallAnswer] | Refusal | Stall | CutOff | Raw | Verbatim | Redirect
Request = dict[str, Any]


def last_text(request: Request) -> str:
    """What the newest message says."""
    return str(request["messages"][-1]["content"]) if request["messages"] else ""


def echo(request: Request) -> Answer:
    """ "You said: ..." after the user, "The answer is: ..." after a function's result."""
    newest = request["messages"][-1] if request["messages"] else {"role": "user"}
    return f"{'The answer is' if newest['role'] == 'tool' else 'You said'}: {last_text(request)}"


def by_rules(rules: Mapping[str, Answer], otherwise: Callable[[Request], Answer] = echo) -> Callable[[Request], Answer]:
    """Answers by the first rule whose words are in the newest user message, whatever their case.

    After a function's result, and for a `ToolCallAnswer` to a request that offers no such tool, `otherwise` answers.
    """

    def answer(request: Request) -> Answer:
        if not request["messages"] or request["messages"][-1]["role"] != "user":
            return otherwise(request)
        offered = {tool["function"]["name"] for tool in request.get("tools", ())}
        for words, given in rules.items():
            if words.lower() in last_text(request).lower() and _tools(given) <= offered:
                return given
        return otherwise(request)

    return answer


def _tools(answer: Answer) -> set[str]:
    return {call.name for call in _calls(answer)}


def _calls(answer: Answer) -> list[ToolCallAnswer]:
    if isinstance(answer, ToolCallAnswer):
        return [answer]
    return answer if isinstance(answer, list) else []


def chat_fault(request: Request) -> str:
    """What the strictest of servers and chat templates would refuse in `request`; empty if nothing."""
    messages = request["messages"]
    if any(message["role"] == "system" for message in messages[1:]):
        return "System message must be at the beginning."
    turns = [message for message in messages if message["role"] != "system"]
    # A function's result is a turn of the user's, as in Anthropic's and Google's formats.
    roles = ["assistant" if message["role"] == "assistant" else "user" for message in turns]
    if not turns or roles[0] != "user" or roles[-1] != "user":
        return "Conversation must begin and end with a user message."
    for one, other in itertools.pairwise(turns):
        if {one["role"], other["role"]} == {"tool"}:
            continue
        if (one["role"] == "assistant") == (other["role"] == "assistant"):
            return "Conversation roles must alternate user/assistant/user/assistant/..."
    if any(not (message.get("content") or "").strip() and not message.get("tool_calls") for message in messages):
        return "Content must not be blank."
    return _call_fault(turns)


def _call_fault(turns: list[dict[str, Any]]) -> str:
    asked: list[str] = []
    for message in turns:
        if message["role"] == "tool":
            if message["tool_call_id"] not in asked:
                return "Tool message has no preceding tool call."
            asked.remove(message["tool_call_id"])
            continue
        if asked:
            return "Tool calls and tool results do not match."
        for call in message.get("tool_calls", ()):
            asked.append(call["id"])
            try:
                is_object = isinstance(json.loads(call["function"]["arguments"]), dict)
            except ValueError:
                is_object = False
            if not is_object:
                return "Tool call arguments must be a JSON object."
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call["function"]["name"]):
                return "Tool names take letters, digits, _ and -."
    return "Tool calls and tool results do not match." if asked else ""


def prompt_tokens(request: Request) -> int:
    """A token is a word here."""
    return sum(len(str(message.get("content") or "").split()) for message in request["messages"])


class OpenAiStandin:
    """The server. `requests` holds each request's body, `headers` its headers, in their order.

    `answer` says what to answer; `first_token_seconds` passes before the first token, `token_seconds` after each.
    `finished` counts answers sent to their end, `cancelled` those whose caller hung up first, `connections` the
    different connections that asked for answers. `models_status` is what a look at `/models` gets, with
    `models_headers` and `models_body`. If `strict`, it
    refuses what `chat_fault` finds; a prompt of more than `context_tokens` words it refuses as too long.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Request], Answer] = echo,
        first_token_seconds: float = 0.0,
        token_seconds: float = 0.0,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.answer = answer
        self.first_token_seconds = first_token_seconds
        self.token_seconds = token_seconds
        self.requests: list[Request] = []
        self.headers: list[Mapping[str, str]] = []
        self.finished = 0
        self.cancelled = 0
        self.models_status = 200
        self.models_headers: dict[str, str] = {}
        self.models_body = b'{"object": "list", "data": []}'
        self.strict = False
        self.context_tokens: int | None = None
        self.connections: set[tuple[str, int]] = set()
        self._port = port
        self._ids = itertools.count(1)

    @property
    def url(self) -> str:
        """The base address, up to and including `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def until(self, condition: Callable[[Self], bool], timeout: float = 20.0) -> None:
        """Wait until `condition(standin)` holds, such as `lambda standin: standin.cancelled == 1`.

        It is asked again and again: the stand-in may run on another event loop than who waits.
        """
        async with asyncio.timeout(timeout):
            while not condition(self):  # noqa: ASYNC110  # nobody could wake it from there
                await asyncio.sleep(0.01)

    async def _models(self, _: web.Request) -> web.Response:
        return web.Response(body=self.models_body, status=self.models_status, headers=self.models_headers)

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        request = await http.json()
        self.requests.append(request)
        self.headers.append(dict(http.headers))
        assert http.transport is not None
        self.connections.add(http.transport.get_extra_info("peername"))
        answer = self.answer(request)
        if self.strict and (wrong := chat_fault(request)):
            return web.json_response({"error": {"message": wrong, "code": None}}, status=400)
        if self.context_tokens is not None and prompt_tokens(request) > self.context_tokens:
            answer = Refusal(400, "context_length_exceeded")
        if isinstance(answer, Refusal):
            error = {"message": f"I can't take {request['messages']}", "code": answer.code, "param": answer.param}
            headers = {"Retry-After": answer.retry_after} if answer.retry_after else {}
            return web.json_response({"error": error}, status=answer.status, headers=headers)
        if isinstance(answer, Redirect):
            return web.Response(status=answer.status, headers={"Location": answer.location})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if isinstance(answer, Verbatim) and answer.encoding:
            response.headers["Content-Encoding"] = answer.encoding
        try:
            await asyncio.sleep(self.first_token_seconds)
            await response.prepare(http)
            for block, is_token in self._blocks(request, answer):
                await response.write(block)
                if is_token:
                    await asyncio.sleep(self.token_seconds)
            if isinstance(answer, CutOff):
                await asyncio.sleep(_READ_SECONDS if answer.text else 0.0)
                http.transport.abort()
            elif isinstance(answer, Stall):
                await asyncio.Event().wait()
            self.finished += 1
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        return response

    def _blocks(self, request: Request, answer: Answer) -> Iterator[tuple[bytes, bool]]:
        if isinstance(answer, Verbatim):
            yield from ((block, True) for block in answer.blocks)
            return
        for line, is_token in self._lines(request, answer):
            yield f"data: {line}\n\n".encode(), is_token

    def _lines(self, request: Request, answer: Answer) -> Iterator[tuple[str, bool]]:
        """The `data` of each event of a whole or broken answer, and whether it stands for a token."""
        if isinstance(answer, Raw):
            yield from ((line, True) for line in answer.lines)
            return
        text = answer if isinstance(answer, str) else "".join(getattr(part, "text", "") for part in _parts(answer))
        yield _chunk({"role": "assistant", "content": None}), False
        words = re.findall(r"\s*\S+|\s+$", text)
        limit = request.get("max_tokens") or len(words)
        for word in words[:limit]:
            yield _chunk({"content": word}), True
        if isinstance(answer, Stall | CutOff):
            return
        for index, call in enumerate(_calls(answer)):
            call_id = f"call_{next(self._ids)}"
            yield _chunk({"tool_calls": [_call_piece(index, "", call_id, call.name)]}), True
            for piece in re.findall(r".{1,8}", json.dumps(call.arguments) if call.arguments else ""):
                yield _chunk({"tool_calls": [_call_piece(index, piece)]}), True
        reason = "length" if len(words) > limit else "tool_calls" if _calls(answer) else "stop"
        yield _chunk({}, reason), False
        if request.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": prompt_tokens(request), "completion_tokens": min(len(words), limit)}
            yield json.dumps({"choices": [], "usage": usage}), False
        yield "[DONE]", False


def _parts(answer: Answer) -> list[Any]:
    return answer if isinstance(answer, list) else [answer]


def _call_piece(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": call_id, "type": "function"} if call_id else {})


def _chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]})


async def _serve(port: int, first_token_seconds: float, token_seconds: float) -> None:
    async with OpenAiStandin(
        port=port, first_token_seconds=first_token_seconds, token_seconds=token_seconds
    ) as standin:
        print(standin.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--first-token-seconds", type=float, default=0.0)
    parser.add_argument("--token-seconds", type=float, default=0.0)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.first_token_seconds, arguments.token_seconds))
