"""A turn's waterfall: how long after the caller's last speech each stage of the answer was reached.

Pure but for the metrics that it writes. `now` is monotonic seconds.
"""

from typing import Literal, get_args

from server.observability import metrics

Stage = Literal["endpointing", "stt", "llm_first_token", "llm_first_clause", "tts_first_audio"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Waterfall:
    """One turn's stages, each marked once, in any order that happens."""

    def __init__(self, speech_end: float) -> None:
        self._speech_end = speech_end
        self._marks: dict[Stage, float] = {}

    def mark(self, stage: Stage, now: float) -> None:
        """The stage is reached; only the first time counts."""
        self._marks.setdefault(stage, now)

    def take(self, earlier: "Waterfall") -> None:
        """Stages were reached before it was known that the turn is over."""
        for stage, now in earlier._marks.items():
            self.mark(stage, now)

    def __contains__(self, stage: Stage) -> bool:
        return stage in self._marks

    def stages_ms(self) -> dict[str, float]:
        """Milliseconds from the caller's last speech to each stage reached."""
        return {
            stage: round((self._marks[stage] - self._speech_end) * 1000, 1) for stage in STAGES if stage in self._marks
        }

    def observe(self) -> None:
        """Write the turn into the node's metrics: each stage by what it took itself, and the whole."""
        previous = self._speech_end
        for stage in STAGES:
            if stage in self._marks:
                # A transcript begun at a pause can be there before the turn's end.
                metrics.turn_stage_seconds.labels(stage).observe(max(0.0, self._marks[stage] - previous))
                previous = max(previous, self._marks[stage])
        if "endpointing" in self._marks:  # what was typed, or asked for by the application, ended no speech
            metrics.voice_to_voice_seconds.observe(previous - self._speech_end)
