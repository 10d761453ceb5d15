"""How much a caller may do in a time, by token buckets: of audio, of messages, of the event loop.

Pure: `now` is monotonic seconds and comes with each request.
"""

from server.errors import VoicefleetError


class AudioRateExceeded(VoicefleetError):
    """More audio than the allowance holds; none of it was taken."""

    code = "rate_limit_exceeded"
    limit = "audio_rate"

    def __init__(self, rate: float, burst: float) -> None:
        super().__init__(
            f"audio came too fast: takes {rate:g} seconds of audio per second on average, {burst:g} seconds at once"
        )


class TokenBucket:
    """Lets `rate` units per second pass on average, and `burst` units at once. Starts full."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._left = burst
        self._filled_at: float | None = None

    def take(self, units: float, now: float) -> bool:
        """Use up `units`; False if there are not so many, and then nothing is used up."""
        self._fill(now)
        if units > self._left:
            return False
        self._left -= units
        return True

    def spend(self, units: float, now: float) -> float:
        """Use up `units` that are gone already. Gives the seconds until the bucket is out of debt."""
        self._fill(now)
        self._left -= units
        return max(0.0, -self._left / self.rate)

    def _fill(self, now: float) -> None:
        if self._filled_at is not None:
            self._left = min(self.burst, self._left + (now - self._filled_at) * self.rate)
        self._filled_at = now


class AudioAllowance:
    """A token bucket of seconds of audio."""

    def __init__(self, rate: float, burst: float) -> None:
        self._bucket = TokenBucket(rate, burst)

    def take(self, seconds: float, now: float) -> None:
        """Use up `seconds` of audio. Raises `AudioRateExceeded` and then uses up nothing."""
        if not self._bucket.take(seconds, now):
            raise AudioRateExceeded(self._bucket.rate, self._bucket.burst)
