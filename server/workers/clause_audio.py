"""What a worker sends for a clause, held against what speech can be: no worker is believed blindly.

Pure. A worker that lies, by malice or by a fault, costs its clause and no memory: neither endless audio nor endless
silence is waited for.
"""

from dataclasses import dataclass

from server.errors import VoicefleetError

SAMPLE_RATES = frozenset({8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
"""Hz, of every voice that there is."""

LONGEST_GAP_SECONDS = 5.0
"""Between two chunks of a worker that is well."""

BYTES_PER_SAMPLE = 2

# As slow as a voice may be that still gets to the end of a clause: four times as long as its audio lasts.
_SLOWEST = 4.0
# The most audio that a clause can be: a letter that is spelled takes half a second, and a voice may hum and pause.
_SPARE_SECONDS = 10.0
_SECONDS_PER_CHARACTER = 1.0


class ImpossibleAudio(VoicefleetError):
    """No worker that is well sends that."""


@dataclass(slots=True)
class ClauseAudio:
    """What has come of a clause of so many `characters`, of which `skipped` bytes came from another worker.

    It was asked for `needed_in` seconds before the first of it was needed: until then others may come first.
    """

    characters: int
    sample_rate: int
    skipped: int = 0
    needed_in: float = 0.0
    _heard: int = 0
    _waited: float = 0.0

    @property
    def patience(self) -> float:
        """Seconds that the next chunk may take."""
        heard = self._heard / BYTES_PER_SAMPLE / self.sample_rate
        gap = LONGEST_GAP_SECONDS if self._heard else LONGEST_GAP_SECONDS + self.needed_in
        left = LONGEST_GAP_SECONDS + self.needed_in + _SLOWEST * heard - self._waited
        return min(gap, max(0.0, left))

    def take(self, pcm: bytes, waited: float) -> None:
        """The next chunk came, after `waited` seconds. Raises `ImpossibleAudio`."""
        self._heard += len(pcm)
        self._waited += waited
        if not pcm or len(pcm) % BYTES_PER_SAMPLE:
            raise ImpossibleAudio(f"got {len(pcm)} bytes of audio; a chunk takes whole 16-bit samples, one at least")
        longest = _SPARE_SECONDS + _SECONDS_PER_CHARACTER * self.characters
        if self.skipped + self._heard > longest * self.sample_rate * BYTES_PER_SAMPLE:
            raise ImpossibleAudio(f"got more than {longest:.0f} s of audio for {self.characters} characters")
