"""Any server that speaks OpenAI's streaming chat completions: OpenAI, vLLM, llama.cpp, Ollama, gateways.

It keeps no history, retries nothing and waits as long as the server takes: `server.llm.model` has the deadline,
`server.llm.race` the second try.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from server.llm.chat_completions import request_body
from server.llm.chat_stream import AnswerReader, ServerSentEvents
from server.llm.interface import ChatRequest, LlmError, LlmEvent
from server.llm.refusals import decoded, failure_of, refused_field, retry_after
from server.outbound import proxy_for, trusted_authorities

log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 60.0
_BLOCK_BYTES = 4096  # of an answer that are read in one go, while other calls wait
_DRAIN_SECONDS = 0.1
_DRAIN_BLOCKS = 4  # of a server that has more to say after its answer the connection is closed
_MAX_ERROR_BYTES = 65_536
# What not every server takes. One that refuses such a field by name is asked again without it, then and from then on.
_OPTIONAL = ("reasoning_effort", "parallel_tool_calls", "temperature", "stream_options")
_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")


class OpenAiCompatibleProvider:
    """The model `model` at `url` (up to and including `/v1`)."""

    def __init__(self, model: str, url: str, api_key: str | None = None, *, reuse_connections: bool = True) -> None:
        """`reuse_connections=False` is for a server that hangs up after each answer without having said so."""
        self._model = model
        self._url = url.rstrip("/")
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._proxy = _web_proxy(url)
        # OpenAI's newer models refuse the old name, most other servers know only that.
        self._limit_name = _LIMIT_NAMES[self._host == "api.openai.com"]
        self._not_taken: set[str] = set()
        self.use_key(api_key)
        self._reuse_connections = reuse_connections
        self._open_session: aiohttp.ClientSession | None = None

    def use_key(self, api_key: str | None) -> None:
        """Ask with this key from the next request on; None asks without one."""
        self._headers = {"Accept-Encoding": "identity"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    async def warm_up(self) -> None:
        """Connect, and see that the server takes the key. Raises `LlmError`."""
        try:
            async with self._session.get(
                f"{self._url}/models", headers=self._headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                self._check(response)
                status, body = response.status, await _body(response)
        except Exception as error:
            raise self._failure(error, started=False) from None
        if status in (401, 403) or status >= 500:
            raise self._refusal(response, body)

    async def close(self) -> None:
        """Close every connection."""
        if self._open_session is not None:
            await self._open_session.close()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`; see `LlmProvider.stream`."""
        reader = AnswerReader(request)
        try:
            # Leaving this block before the answer's end closes the connection: the server sees it at once.
            async with (
                self._ask(request) as response,
                contextlib.aclosing(_events(response, reader, request)) as events,
            ):
                async for data in events:
                    for event in reader.push(data):
                        yield event
            for event in reader.finish():
                yield event
        except Exception as error:
            raise self._failure(error, reader.started) from None

    @contextlib.asynccontextmanager
    async def _ask(self, request: ChatRequest) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to `request`, of status 200. Raises `LlmError`."""
        while True:
            body = request_body(self._model, request, self._limit_name, self._not_taken)
            async with self._session.post(
                f"{self._url}/chat/completions",
                data=msgspec.json.encode(body),
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"} | self._headers,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                self._check(response)
                if response.status == 200:
                    yield response
                    return
                refusal = await _body(response)
            if response.status not in (400, 422) or not self._learn(refusal, body):
                raise self._refusal(response, refusal)

    def _check(self, response: aiohttp.ClientResponse) -> None:
        """See that the answer is one that is read. Raises `LlmError`."""
        if 300 <= response.status < 400:
            raise LlmError(
                "invalid_request",
                f"the language model at {self._host} answered {response.status}, a redirect, which would take the "
                "conversation elsewhere and is not followed; takes the address of the server itself",
            )
        if response.status == 200 and _is_encoded(response):
            raise LlmError(
                "invalid_request",
                f"the language model at {self._host} compresses its answers, though it was asked for none of that; "
                "takes a server that heeds Accept-Encoding: identity",
            )

    def _learn(self, refusal: Any, body: dict[str, Any]) -> bool:
        """Whether the server minds a field of `body` without which, or by another name, it can be asked again."""
        field = refused_field(refusal, [name for name in (*_OPTIONAL, self._limit_name) if name in body])
        if not field:
            return False
        if field == self._limit_name:
            if self._limit_name == _LIMIT_NAMES[1]:
                return False
            self._limit_name = _LIMIT_NAMES[1]
        else:
            self._not_taken.add(field)
        log.warning("llm_field_refused", field=field, host=self._host)
        return True

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open_session is None:
            self._open_session = aiohttp.ClientSession(
                connector=self._connector(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                auto_decompress=False,  # a few bytes may become gigabytes
            )
        return self._open_session

    def _connector(self) -> aiohttp.TCPConnector:
        trusted: ssl.SSLContext | bool = trusted_authorities() if self._url.startswith("https:") else True
        # No limit of connections: admission bounds the calls, and with them the connections.
        if self._reuse_connections:
            return aiohttp.TCPConnector(limit=0, ssl=trusted, keepalive_timeout=_KEEP_ALIVE_SECONDS)
        return aiohttp.TCPConnector(limit=0, ssl=trusted, force_close=True)

    def _refusal(self, response: aiohttp.ClientResponse, body: Any) -> LlmError:
        failure, code = failure_of(body, response.status)
        wait = retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC))
        return LlmError(failure, f"the language model at {self._host} answered {response.status} ({code})", wait)

    def _failure(self, error: Exception, started: bool) -> LlmError:
        """For whatever the libraries below raise: not all of it is an `aiohttp.ClientError`."""
        if isinstance(error, LlmError):
            return error
        if isinstance(error, TimeoutError):
            return LlmError("timeout", f"the language model at {self._host} did not answer in time")
        if started:
            return LlmError("interrupted", f"the connection to the language model at {self._host} broke off")
        return LlmError("unavailable", f"the language model at {self._host} can't be reached ({type(error).__name__})")


async def _events(
    response: aiohttp.ClientResponse, reader: AnswerReader, request: ChatRequest
) -> AsyncGenerator[bytes, None]:
    """The `data` of each event until the answer ends. An answer that is not streamed is one event."""
    events, content = ServerSentEvents(), response.content
    while not reader.ended and (block := await content.read(_BLOCK_BYTES)):
        request.heartbeat()
        request.received(len(block))
        for data in events.push(block):
            yield data
        await asyncio.sleep(0)  # a read gives nobody a turn while it finds something
    for data in events.finish():
        yield data
    # A connection can be used again only once its last bytes, a chunk of length 0, have been read.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            for _ in range(_DRAIN_BLOCKS):
                if not await content.readany():
                    break


def _is_encoded(response: aiohttp.ClientResponse) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() != "identity"


async def _body(response: aiohttp.ClientResponse) -> Any:
    """What a refusal says, as far as it is not compressed; the status tells most of it in any case."""
    return None if _is_encoded(response) else decoded(await response.content.read(_MAX_ERROR_BYTES))


def _web_proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`. Raises `LlmError` for one that aiohttp can't use."""
    proxy = proxy_for(url)
    kind = proxy.partition("://")[0].lower() if proxy else "http"
    if kind not in ("http", "https"):
        raise LlmError(
            "invalid_request",
            f"{urlsplit(url).scheme.upper()}_PROXY: got a proxy of the kind {kind!r}; the language "
            "model takes http://HOST:PORT, or its host in NO_PROXY",
        )
    return proxy
