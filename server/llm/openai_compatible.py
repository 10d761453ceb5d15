"""Any server that speaks OpenAI's streaming chat completions: OpenAI, vLLM, llama.cpp, Ollama, gateways.

It keeps no history, retries nothing and waits as long as the server takes: `server.llm_processor` has the deadline
and the second try.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import aiohttp
import msgspec

from server.llm.chat_completions import AnswerReader, ServerSentEvents, error_code, request_body
from server.llm.interface import ChatRequest, LlmError, LlmEvent, LlmFailure

_CONNECT_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 60.0
_DRAIN_SECONDS = 0.1
_MAX_ERROR_BYTES = 65_536


class OpenAiCompatibleProvider:
    """The model `model` at `url` (up to and including `/v1`)."""

    def __init__(self, model: str, url: str, api_key: str | None = None, *, reuse_connections: bool = True) -> None:
        """`reuse_connections=False` is for a server that hangs up after each answer without having said so."""
        self._model = model
        self._url = url.rstrip("/")
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        # OpenAI's newer models refuse the old name, most other servers know only that.
        self._limit_name = "max_completion_tokens" if self._host == "api.openai.com" else "max_tokens"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._reuse_connections = reuse_connections
        self._open_session: aiohttp.ClientSession | None = None

    async def warm_up(self) -> None:
        """Connect, and see that the server takes the key. Raises `LlmError`."""
        try:
            async with self._session.get(f"{self._url}/models") as response:
                if response.status in (401, 403) or response.status >= 500:
                    raise await self._refusal(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failure(error, started=False) from None

    async def close(self) -> None:
        """Close every connection."""
        if self._open_session is not None:
            await self._open_session.close()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`; see `LlmProvider.stream`."""
        events, reader, started = ServerSentEvents(), AnswerReader(), False
        try:
            # Leaving this block before the answer's end closes the connection: the server sees it at once.
            async with self._session.post(
                f"{self._url}/chat/completions",
                data=msgspec.json.encode(request_body(self._model, request, self._limit_name)),
                headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
            ) as response:
                if response.status != 200:
                    raise await self._refusal(response)
                while not reader.ended and (block := await response.content.readany()):
                    for data in events.push(block):
                        for event in reader.push(data):
                            started = True
                            yield event
                # A connection can be used again only once its last bytes, a chunk of length 0, have been read.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        await response.content.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._failure(error, started) from None
        for event in reader.finish():
            yield event

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._open_session is None:
            self._open_session = aiohttp.ClientSession(
                # No limit of connections: admission bounds the calls, and with them the connections.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
                if self._reuse_connections
                else aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                headers=self._headers,
            )
        return self._open_session

    async def _refusal(self, response: aiohttp.ClientResponse) -> LlmError:
        status, code = response.status, error_code(await response.content.read(_MAX_ERROR_BYTES))
        failure: LlmFailure
        if status == 429:
            failure = "throttled"
        elif status in (408, 504):
            failure = "timeout"
        else:
            failure = "unavailable" if status >= 500 else "invalid_request"
        return LlmError(failure, f"the language model at {self._host} answered {status} ({code})")

    def _failure(self, error: Exception, started: bool) -> LlmError:
        if isinstance(error, TimeoutError):
            return LlmError("timeout", f"the language model at {self._host} did not answer in time")
        if started:
            return LlmError("interrupted", f"the connection to the language model at {self._host} broke off")
        return LlmError("unavailable", f"the language model at {self._host} can't be reached ({type(error).__name__})")
