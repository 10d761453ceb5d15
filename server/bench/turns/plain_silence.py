"""What waiting for a silence would have done with the same utterances: no node, only its rule and its voice detector.

The rule is `server_vad`'s own (`conversation.endpointing`), the probabilities are Silero's.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from server.audio import Samples
from server.audio.formats import MODEL_RATE
from server.audio.resampling import Resampler
from server.bench.turns.cases import Case
from server.bench.turns.report import SilencePoint, point
from server.bench.turns.timeline import Timeline
from server.bench.turns.verdicts import judge_turn
from server.bench.turns.word_gaps import RATE
from server.conversation.endpointing import Endpointer, Stopped, TurnDetection
from server.vad_processor import FRAME_SAMPLES, VadProcessor, VadStream, VoiceActivity

SILENCES = (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5)
"""Seconds."""


def silence_points(cases: Sequence[Case], activities: Sequence[Sequence[VoiceActivity]]) -> list[SilencePoint]:
    """A point for each of `SILENCES`. `activities` are of the cases, each with silence enough after it."""
    found = []
    for silence in SILENCES:
        turns = [
            judge_turn(case, 0.0, Timeline(committed=_ends(TurnDetection(silence=silence), activity)))
            for case, activity in zip(cases, activities, strict=True)
        ]
        if where := point(turns):
            found.append(SilencePoint(silence * 1000, where))
    return found


def _ends(settings: TurnDetection, activity: Sequence[VoiceActivity]) -> list[float]:
    endpointer = Endpointer(settings)
    endpoints = (endpointer.push(frame.start, frame.end, frame.probability) for frame in activity)
    return [endpoint.end for endpoint in endpoints if isinstance(endpoint, Stopped)]


async def voice_activity(model: Path, cases: Sequence[Case]) -> list[list[VoiceActivity]]:
    """What Silero (`model` is its ONNX file) makes of each case and two seconds of silence after it."""
    processor = VadProcessor(model)
    running = asyncio.create_task(processor.run())
    try:
        return await asyncio.gather(*(_judge(processor.stream(), case.samples) for case in cases))
    finally:
        running.cancel()


async def _judge(stream: VadStream, samples: Samples) -> list[VoiceActivity]:
    resampler = Resampler(RATE, MODEL_RATE)
    followed = np.concatenate((samples, np.zeros(round((max(SILENCES) + 0.5) * RATE), np.int16)))
    pcm = np.concatenate((resampler.push(followed), resampler.flush()))
    fed = asyncio.create_task(stream.feed(pcm.tobytes()))
    activity = []
    async for frame in stream:
        activity.append(frame)
        if len(activity) == len(pcm) // FRAME_SAMPLES:
            break
    await fed
    return activity
