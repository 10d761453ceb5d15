"""LiveKit's STT and TTS plug-ins on a node: says a sentence, and prints what each way of hearing makes of it, as JSON.

Arguments: the base URL, and what to say.
"""

import asyncio
import json
import sys

from livekit import rtc
from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.plugins import openai

RATE = 24_000


async def main(base_url: str, text: str) -> None:
    """Say it in the plug-in's own format, hear it as a file and as a stream."""
    node = {"base_url": base_url, "api_key": "none"}
    async with http_context.open():
        said = await openai.TTS(**node).synthesize(text).collect()
        print(json.dumps({"event": "said", "seconds": said.duration}))
        heard = await openai.STT(**node).recognize(said)
        print(json.dumps({"event": "heard", "text": heard.alternatives[0].text}))
        print(json.dumps({"event": "heard_live", "text": await live(openai.STT(**node, use_realtime=True), said)}))


async def live(recogniser: openai.STT, said: rtc.AudioFrame) -> str:
    """The first final words of a stream, in real time."""
    async with recogniser.stream() as stream:
        speaking = asyncio.create_task(speak(stream, bytes(said.data)))
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                speaking.cancel()
                return event.alternatives[0].text
    return ""


async def speak(stream: stt.SpeechStream, pcm: bytes) -> None:
    """The speech, then silence, 20 ms every 20 ms."""
    size = RATE // 50 * 2
    while True:
        frame, pcm = pcm[:size].ljust(size, b"\0"), pcm[size:]
        stream.push_frame(rtc.AudioFrame(frame, RATE, 1, size // 2))
        await asyncio.sleep(0.02)


asyncio.run(main(*sys.argv[1:]))
