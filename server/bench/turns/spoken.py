"""What the CPU voice says into an answer, for want of recordings: whether it sounds final does not matter there."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np

from server.bench.turns.cases import Kind
from server.bench.turns.recordings import Recording
from server.workers.engines.hibari import HibariEngine

_TEXTS = {
    Kind.BACKCHANNEL: ("Mhm.", "Okay.", "Right.", "Uh-huh.", "Yeah.", "I see.", "Got it.", "Oh, okay."),
    Kind.INTERRUPTION: (
        "Stop, please.",
        "Wait a moment.",
        "No, that's wrong.",
        "Hold on, I have a question.",
        "My name is Peter.",
        "What about Sunday?",
    ),
}


async def spoken(model: Path) -> Mapping[Kind, Sequence[Recording]]:
    """Backchannels and short interruptions; `model` is Hibari's ONNX file."""
    engine = HibariEngine(model, threads=1)
    try:
        return {kind: [await _say(engine, text) for text in texts] for kind, texts in _TEXTS.items()}
    finally:
        await engine.close()


async def _say(engine: HibariEngine, text: str) -> Recording:
    async with aclosing(engine.synthesize(text, "", 1.0)) as chunks:
        pcm = b"".join([chunk async for chunk in chunks])
    return Recording(text, np.frombuffer(pcm, "<i2"))
