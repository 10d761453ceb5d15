"""How workers have rendered a clause so far: what any of them needs to go on with the very same audio.

Pure. An engine that draws what it says draws differently beside other streams, so that the same text said again is
another rendition, and half of one does not fit half of the other. What was drawn makes the same audio anywhere.
"""

from server.workers import speech_pb2
from server.workers.clause_audio import ImpossibleAudio

_MOST_TOKENS = 10_000
"""Of a clause: minutes of speech."""


class Rendition:
    """One clause's. An engine that says the same text in the same way tells nothing, and is asked to go on as it is."""

    def __init__(self) -> None:
        self._pieces: list[speech_pb2.Progress] = []  # the latest of each piece

    def take(self, progress: speech_pb2.Progress, samples: int) -> None:
        """A worker has come so far, and `samples` of the clause's audio had come before. Raises `ImpossibleAudio`."""
        self._pieces = [one for one in self._pieces if one.piece < progress.piece]
        before = self._pieces[-1].samples if self._pieces else 0
        if not before <= progress.samples <= samples:
            raise ImpossibleAudio(
                f"got a piece that begins after {progress.samples} samples; takes {before} to {samples}"
            )
        self._pieces.append(progress)
        if sum(len(one.tokens) for one in self._pieces) > _MOST_TOKENS:
            raise ImpossibleAudio(f"got more than {_MOST_TOKENS} tokens for a clause")

    def at(self, sample: int) -> speech_pb2.Progress:
        """What to go on from after so many samples; empty where nothing is known."""
        known = [one for one in self._pieces if one.samples <= sample]
        return known[-1] if known else speech_pb2.Progress()
