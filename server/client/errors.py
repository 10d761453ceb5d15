"""What can go wrong with a call, as its caller sees it."""

from server.errors import VoicefleetError


class CallFailed(VoicefleetError):
    """The node could not be reached, refused the call, or broke it off."""


class CallRefused(CallFailed):
    """The node answered the handshake with an HTTP `status` that is no call; `retry_after` is in seconds."""

    def __init__(self, message: str, status: int, retry_after: float) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
