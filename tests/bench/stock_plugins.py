"""LiveKit's and pipecat's plug-ins for speech, as they are, at a node: `python -m tests.bench.stock_plugins BASE_URL`.

They need an environment of their own, with `livekit-plugins-openai` and `pipecat-ai[openai]`, which pin other versions
than the node. Each recogniser hears the demonstration's question, and each voice says it to LiveKit's recogniser.
"""

import argparse
import asyncio
import sys
import wave
from pathlib import Path

from livekit import rtc  # type: ignore[attr-defined]  # a namespace of packages, of which the tests have another
from livekit.plugins import openai as livekit
from pipecat.frames.frames import TranscriptionFrame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.tests.utils import run_test

QUESTION = Path(__file__).parents[2] / "server" / "demo" / "question.wav"
TEXT = "What is the capital city of France?"


async def main(base_url: str) -> int:
    """Say what each heard; gives how many heard something else."""
    at = {"base_url": base_url, "api_key": "none"}
    with wave.open(str(QUESTION)) as file:
        question = rtc.AudioFrame(file.readframes(file.getnframes()), file.getframerate(), 1, file.getnframes())
    ears = livekit.STT(**at)

    async def heard(*frames: rtc.AudioFrame) -> str:
        event = await ears.recognize(list(frames))
        return str(event.alternatives[0].text)

    async def pipecat_heard() -> str:
        found = [frame async for frame in OpenAISTTService(**at).run_stt(QUESTION.read_bytes())]
        return " ".join(frame.text if isinstance(frame, TranscriptionFrame) else str(frame) for frame in found)

    async def livekit_said(**options: str) -> str:
        return await heard(*[chunk.frame async for chunk in livekit.TTS(**at, **options).synthesize(TEXT)])

    async def pipecat_said() -> str:
        voice = OpenAITTSService(**at, sample_rate=24_000)
        frames, _ = await run_test(voice, frames_to_send=[TTSSpeakFrame(TEXT)], start_timeout=10.0)
        pcm = b"".join(frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame))
        return await heard(rtc.AudioFrame(pcm, 24_000, 1, len(pcm) // 2))

    wrong = 0
    for name, work in (
        ("livekit STT", heard(question)),
        ("pipecat STT", pipecat_heard()),
        ("livekit TTS", livekit_said()),
        ("livekit TTS, pcm", livekit_said(response_format="pcm")),
        ("pipecat TTS", pipecat_said()),
    ):
        try:
            text = await work
        except Exception as error:
            text = repr(error)
        wrong += text != TEXT
        print(f"{name:18} {text}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    sys.exit(asyncio.run(main(parser.parse_args().base_url)))
