"""Stand-ins for both speech workers in one process: `python -m tests.support.speech_workers --socket PATH`.

They answer at once and compute nothing, so that a load test measures the gateway: every utterance is the same sentence,
every text a tone of a duration in proportion to it.
"""

import argparse
import asyncio
from collections.abc import AsyncGenerator, Sequence

import grpc
import numpy as np

from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.engine import Progress, Voice
from server.workers.serving import serve
from server.workers.stt_worker import MAX_MESSAGE_BYTES
from server.workers.tts_worker import TextToSpeech

TRANSCRIPT = "What are your opening hours?"
SECONDS_PER_CHARACTER = 0.06
_SAMPLE_RATE = 24_000
_CHUNK = _SAMPLE_RATE * 80 // 1000 * 2
BREAKS_THE_RULES = "half a sample"
"""What the tone says of a text with these words: something that no engine may."""


class ToneEngine:
    """A `TtsEngine` that hums."""

    name = "tone"
    sample_rate: int = _SAMPLE_RATE

    def __init__(self, streams: int = 0) -> None:
        self._streams = streams

    def voices(self) -> Sequence[Voice]:
        return (Voice("tone", "en", "a tone of 220 Hz", is_default=True),)

    async def synthesize(
        self, text: str, voice: str, speed: float, needed_in: float = 0.0, progress: Progress | None = None
    ) -> AsyncGenerator[bytes, None]:
        if BREAKS_THE_RULES in text:
            yield bytes(1)
        samples = np.arange(round(len(text) * SECONDS_PER_CHARACTER / speed * _SAMPLE_RATE))
        pcm = (8000 * np.sin(2 * np.pi * 220 / _SAMPLE_RATE * samples)).astype("<i2").tobytes()
        for start in range(0, len(pcm), _CHUNK):
            yield pcm[start : start + _CHUNK]

    def streams(self) -> int:
        return self._streams

    def healthy(self) -> bool:
        return True

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


class FixedTranscript(speech_pb2_grpc.SpeechToTextServicer):
    """Hears the same in everything."""

    def __init__(self, transcript: str) -> None:
        self._transcript = transcript

    async def Transcribe(
        self,
        request: speech_pb2.TranscribeRequest,
        context: "grpc.aio.ServicerContext[speech_pb2.TranscribeRequest, speech_pb2.TranscribeReply]",
    ) -> speech_pb2.TranscribeReply:
        return speech_pb2.TranscribeReply(text=self._transcript, batch_size=1)


async def run(address: str, transcript: str, streams: int) -> None:
    engine = ToneEngine(streams)

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_TextToSpeechServicer_to_server(TextToSpeech(engine), server)  # type: ignore[no-untyped-call] # generated
        speech_pb2_grpc.add_SpeechToTextServicer_to_server(FixedTranscript(transcript), server)  # type: ignore[no-untyped-call] # generated

    await serve(address, register, engine.warm_up, max_message_bytes=MAX_MESSAGE_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True, help="path of the unix socket that serves both")
    parser.add_argument("--transcript", default=TRANSCRIPT)
    parser.add_argument("--streams", type=int, default=0, help="how many it says that it can speak at once")
    options = parser.parse_args()
    asyncio.run(run(f"unix:{options.socket}", options.transcript, options.streams))


if __name__ == "__main__":
    main()
