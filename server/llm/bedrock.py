"""Models on Amazon Bedrock, through boto3's ConverseStream in a bounded pool of threads.

Credentials, region and endpoint come from the standard AWS variables and files, unless a region is given. It keeps no
history and retries nothing; `server.llm.model` has the deadline, `server.llm.race` the second try.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import msgspec
import structlog
from botocore.config import Config
from botocore.eventstream import ParserError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EventStreamError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as StreamReadTimeoutError

from server.addresses import without_secrets
from server.llm.bounds import MOST_EVENT_BYTES
from server.llm.converse import ConverseOptions, ConverseReader, converse_arguments
from server.llm.decoding import guarded
from server.llm.event_stream import bounded_events
from server.llm.interface import ChatRequest, LlmError, LlmEvent, LlmFailure, UserText
from server.llm.interruptible import Interrupted, InterruptibleRequest, make_interruptible
from server.llm.refusals import is_too_long

log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 3.0
_READ_AHEAD = 64
_SPARE_THREADS = 4  # for the keep-warm request, and for cut-off requests whose threads are on their way out
# Codes of exceptions inside a stream begin with a small letter, those of refused requests with a capital.
_FAILURES: dict[str, LlmFailure] = {
    "throttlingexception": "throttled",
    "toomanyrequestsexception": "throttled",
    "servicequotaexceededexception": "throttled",
    "modeltimeoutexception": "timeout",
    "modelnotreadyexception": "unavailable",
    "modelerrorexception": "unavailable",
    "modelstreamerrorexception": "unavailable",
    "internalserverexception": "unavailable",
    "serviceunavailableexception": "unavailable",
}
_SETUP_ERRORS = (
    NoCredentialsError,
    PartialCredentialsError,
    NoRegionError,
    ParamValidationError,
)
# What AWS says of keys that are no longer, or not yet, valid: a file or a helper may give others by now.
_STALE_KEYS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
# What an operator has to look at, for codes that may mean that no request will ever succeed.
_PROFILES = "inference profiles such as us.* and eu.* are for the regions of their name"
_HINTS = {
    "AccessDeniedException": ": the role or key lacks bedrock:InvokeModelWithResponseStream on it, or the account has "
    "no access to the model in this region",
    "ResourceNotFoundException": f": this region has no such model; {_PROFILES}",
    "ValidationException": f": the request does not fit the model, or this region has no such model; {_PROFILES}",
}
_BROKEN = (BotoCoreError, HTTPError, ParserError, OSError)


class BedrockProvider:
    """One Bedrock model, for up to `max_requests` answers at a time."""

    def __init__(
        self,
        options: ConverseOptions,
        *,
        region: str = "",
        max_requests: int,
        timeout_seconds: float,
        keep_warm_seconds: float = 0.0,
        prompt_cache: bool = True,
    ) -> None:
        """`region` empty: that of the standard variables.

        `timeout_seconds` bounds each wait for bytes; `keep_warm_seconds` of 0 sends no keep-warm requests.
        """
        self._options = options
        self._region = region
        self._timeout = timeout_seconds
        self._keep_warm_seconds = keep_warm_seconds
        self._prompt_cache = prompt_cache
        self._model_specific = True
        self._threads = max_requests + _SPARE_THREADS
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="bedrock")
        self._making_client = threading.Lock()
        self._made_client: Any = None
        self._client_has_answered = False
        self._last_request = time.monotonic()
        self._keeping_warm: asyncio.Task[None] | None = None
        self._calls: set[_Call] = set()

    async def warm_up(self) -> None:
        """Make the client (0.8 s), wake the model with a one-token request, then keep it warm. Raises `LlmError`."""
        if self._keep_warm_seconds and self._keeping_warm is None:
            self._keeping_warm = asyncio.create_task(self._keep_warm())
        await self._wake()

    async def close(self) -> None:
        """Cut off what is still running, end the threads and close the connections."""
        if self._keeping_warm is not None:
            self._keeping_warm.cancel()
            await asyncio.gather(self._keeping_warm, return_exceptions=True)
        for call in self._calls:
            call.interrupt()
        await asyncio.to_thread(self._pool.shutdown)
        if self._made_client is not None:
            self._made_client.close()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[LlmEvent, None]:
        """Answer `request`; see `LlmProvider.stream`."""
        self._last_request = time.monotonic()
        arguments = converse_arguments(request, self._options, self._prompt_cache, self._model_specific)
        try:
            async with contextlib.aclosing(self._answer(request, arguments)) as events:
                async for event in events:
                    yield event
        except LlmError as error:
            if error.failure != "invalid_request" or "additionalModelRequestFields" not in arguments:
                raise
        else:
            return
        # The model may be one that takes no such field, by whatever name it goes.
        del arguments["additionalModelRequestFields"]
        async with contextlib.aclosing(self._answer(request, arguments)) as events:
            async for event in events:
                if self._model_specific:
                    self._model_specific = False
                    log.warning("bedrock_model_fields_refused", model=self._options.model_id)
                yield event

    async def _answer(self, request: ChatRequest, arguments: dict[str, Any]) -> AsyncGenerator[LlmEvent, None]:
        reader, call, started = ConverseReader(request), _Call(asyncio.get_running_loop()), False
        self._calls.add(call)
        running = self._pool.submit(self._converse, arguments, call)
        try:
            while (event := await call.next_event()) is not None:
                request.heartbeat()
                request.received(_size(event))
                for part in reader.push(event):
                    started = True
                    yield part
            yield reader.finish()
        except LlmError:
            raise
        except Exception as error:
            raise self._failure(error, started) from None
        finally:
            self._calls.discard(call)
            running.cancel()
            call.interrupt()

    def _converse(self, arguments: dict[str, Any], call: "_Call") -> None:
        """Runs in a thread of the pool, which owns the connection until the answer is over or cut off."""
        try:
            client = self._client()
            with call.request, contextlib.closing(client.converse_stream(**arguments)["stream"]) as stream:
                self._client_has_answered = True
                for event in bounded_events(stream, MOST_EVENT_BYTES):
                    call.put(event)
            call.put(None)
        except Interrupted:
            pass
        except Exception as error:
            call.put(error)

    def _client(self) -> Any:
        with self._making_client:
            if self._made_client is None:
                self._made_client = boto3.session.Session(
                    region_name=self._region or os.environ.get("AWS_REGION")
                ).client(
                    "bedrock-runtime",
                    config=Config(
                        connect_timeout=_CONNECT_SECONDS,
                        read_timeout=self._timeout,
                        max_pool_connections=self._threads,
                        tcp_keepalive=True,
                        retries={"total_max_attempts": 1, "mode": "standard"},
                    ),
                )
                make_interruptible(self._made_client)
            return self._made_client

    def _forget_client(self) -> None:
        """The next request makes another client, which reads the credentials anew."""
        with self._making_client:
            self._made_client, self._client_has_answered = None, False

    async def _wake(self) -> None:
        try:
            await self._ask_for_one_token()
        except LlmError as error:
            if error.failure != "invalid_request" or not self._prompt_cache:
                raise
            # A model without prompt caching refuses the cache points, and each family says so in its own words.
            self._prompt_cache = False
            try:
                await self._ask_for_one_token()
            except LlmError:
                self._prompt_cache = True
                raise
            log.warning("bedrock_prompt_cache_refused", model=self._options.model_id)

    async def _ask_for_one_token(self) -> None:
        request = ChatRequest("Answer with one word.", [UserText("Hello.")], max_output_tokens=1)
        async with contextlib.aclosing(self.stream(request)) as events:
            async for _ in events:
                pass

    async def _keep_warm(self) -> None:
        while True:
            idle = time.monotonic() - self._last_request
            if idle < self._keep_warm_seconds:
                await asyncio.sleep(self._keep_warm_seconds - idle)
                continue
            try:
                await self._wake()
            except LlmError as error:
                log.warning("bedrock_keep_warm_failed", failure=error.failure)

    def _failure(self, error: Exception, started: bool) -> LlmError:
        """The messages name the service's error code and leave out its text, which may quote the prompt."""
        model = self._options.model_id
        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            failure = _client_failure(error, code, started)
            if code in _STALE_KEYS:
                failure = "unavailable" if self._client_has_answered else failure
                self._forget_client()
            hint = _HINTS.get(code, "")
            return LlmError(failure, f"Bedrock answered {code} for the model {model}{hint}")
        if isinstance(error, _SETUP_ERRORS):
            if not isinstance(error, ParamValidationError):
                self._forget_client()  # whatever gives the credentials may have recovered by the next request
            return LlmError("invalid_request", f"Bedrock can't be asked for the model {model}: {_setup_hint(error)}")
        if isinstance(error, ReadTimeoutError | StreamReadTimeoutError):
            return LlmError("timeout", f"Bedrock sent nothing for {self._timeout:g} s for the model {model}")
        if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
            return LlmError("invalid_request", f"{_endpoint_setting()}; takes an address such as https://HOST:PORT")
        kind = type(error).__name__
        if started:
            return LlmError("interrupted", f"the connection to Bedrock broke off ({kind})")
        if isinstance(error, CredentialRetrievalError) or not isinstance(error, _BROKEN):
            # A credential helper that fails, or prints no JSON, for which boto3 has no error of its own.
            self._forget_client()
        return LlmError("unavailable", f"Bedrock can't be reached ({kind})")


class _Call:
    """One answer on its way from the thread that receives it to the task that waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.request = InterruptibleRequest()
        self._loop = loop
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._room = threading.Semaphore(_READ_AHEAD)

    def put(self, event: Any) -> None:
        """In the thread: hand over an event, an error, or None at the end. Waits while the task is far behind."""
        self._room.acquire()
        if self.request.interrupted:
            raise Interrupted
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next_event(self) -> Any:
        """In the task: the next event, or None at the end. Raises what went wrong in the thread."""
        event = await self._events.get()
        self._room.release()
        if isinstance(event, Exception):
            raise event
        return event

    def interrupt(self) -> None:
        """Cut the answer off and let the thread go."""
        self.request.interrupt()
        self._room.release()


def _size(event: Any) -> int:
    """About as many bytes as `event` came in."""
    with guarded("an event"):
        return len(msgspec.json.encode(event))


def _client_failure(error: ClientError, code: str, started: bool) -> LlmFailure:
    if started and isinstance(error, EventStreamError):
        return "interrupted"
    if is_too_long(str(error.response.get("Error", {}).get("Message", ""))):
        return "context_length_exceeded"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    by_status: LlmFailure = "throttled" if status == 429 else "unavailable" if status >= 500 else "invalid_request"
    return _FAILURES.get(code.lower(), by_status)


def _endpoint_setting() -> str:
    """Where boto3 found the endpoint, and what it is."""
    for name in ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"):
        if value := os.environ.get(name):
            return f"{name}: got {without_secrets(value)!r}"
    return "endpoint_url in the AWS configuration file"


def _setup_hint(error: Exception) -> str:
    if isinstance(error, NoRegionError):
        return "no AWS region is set; AWS_REGION takes one, such as us-east-1"
    if isinstance(error, ParamValidationError):
        return "the request has fields that Converse does not take"
    return (
        "no usable AWS credentials were found; it takes an instance role, AWS_PROFILE, "
        "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )
