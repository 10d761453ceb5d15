"""What went wrong with a request, in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from server.access.admission import AdmissionRefused, CallerAtCapacity
from server.access.auth import InvalidCredentials
from server.access.client_secrets import SessionTooLarge
from server.audio.wav import WavError
from server.dialects.openai.client_errors import ClientError
from server.errors import VoicefleetError
from server.limits import LimitExceeded
from server.stt_processor import SttError
from server.tts_processor import TtsError

_SPEECH_RETRY_SECONDS = "2"


class ApiError(VoicefleetError):
    """A request that is not done. `code` is the word for it, `param` the field that was wrong."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """As the client gets it."""
        error = {"message": str(self), "type": _error_type(self.status), "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


def as_api_error(error: Exception) -> ApiError | None:
    """What a client is told of an error; None: it is none that was foreseen."""
    match error:
        case ApiError():
            return error
        case InvalidCredentials():
            return ApiError(401, "invalid_api_key", str(error), headers={"WWW-Authenticate": "Bearer"})
        case AdmissionRefused():
            status = 429 if isinstance(error, CallerAtCapacity) else 503
            return ApiError(status, error.reason, str(error), headers={"Retry-After": str(error.retry_after)})
        case ClientError():
            return ApiError(400, error.code, str(error), error.param)
        case LimitExceeded() | SessionTooLarge():
            return ApiError(400, error.code, str(error), "session")
        case WavError():
            return ApiError(400, "invalid_audio", str(error), "file")
        case SttError(failure="invalid_audio"):
            return ApiError(400, error.failure, str(error), "file")
        case SttError() | TtsError():
            return ApiError(503, error.failure, str(error), headers={"Retry-After": _SPEECH_RETRY_SECONDS})
        case TimeoutError():
            return ApiError(408, "request_timeout", "the request's body did not come in time")
        case web.HTTPException():
            return _of_http(error)
    return None


def _of_http(error: web.HTTPException) -> ApiError:
    """What aiohttp says of paths, methods and sizes."""
    status = HTTPStatus(error.status)
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    allowed = f"; takes {headers['Allow']}" if headers else ""
    code = "request_too_large" if error.status == 413 else status.name.lower()
    return ApiError(error.status, code, f"{status.phrase.lower()}{allowed}", headers=headers)


def _error_type(status: int) -> str:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
