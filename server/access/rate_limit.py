"""How much audio a caller may send: a token bucket filled with seconds of audio.

Pure: `now` is monotonic seconds and comes with each request. Messages and bytes are limited elsewhere.
"""

from server.errors import VoicefleetError


class AudioRateExceeded(VoicefleetError):
    """More audio than the allowance holds; none of it was taken."""

    code = "rate_limit_exceeded"

    def __init__(self, rate: float, burst: float) -> None:
        super().__init__(
            f"audio came too fast: takes {rate:g} seconds of audio per second on average, {burst:g} seconds at once"
        )


class AudioAllowance:
    """Lets `rate` seconds of audio per second pass on average, and `burst` seconds of it at once. Starts full."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._left = burst
        self._filled_at: float | None = None

    def take(self, seconds: float, now: float) -> None:
        """Use up `seconds` of audio. Raises `AudioRateExceeded` and then uses up nothing."""
        if self._filled_at is not None:
            self._left = min(self.burst, self._left + (now - self._filled_at) * self.rate)
        self._filled_at = now
        if seconds > self._left:
            raise AudioRateExceeded(self.rate, self.burst)
        self._left -= seconds
