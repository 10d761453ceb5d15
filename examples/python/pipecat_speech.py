"""pipecat's STT and TTS services on a node: says a sentence, and prints what each way of hearing makes of it, as JSON.

Arguments: the base URL, and what to say.
"""

import asyncio
import json
import sys

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.workers.runner import WorkerRunner

RATE = 24_000
PATIENCE = 20.0


class End(FrameProcessor):
    """The end of a pipeline, where what comes out is picked up."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = b""
        self.words: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.spoken = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take the next frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.audio += frame.audio
        if isinstance(frame, TTSStoppedFrame):
            self.spoken.set()
        if isinstance(frame, TranscriptionFrame) and not self.words.done():
            self.words.set_result(frame.text)
        await self.push_frame(frame, direction)


class Running:
    """A service in a pipeline of its own."""

    def __init__(self, service: FrameProcessor) -> None:
        self.end = End()
        params = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE)
        self.worker = PipelineWorker(Pipeline([service, self.end]), params=params)

    async def __aenter__(self) -> "Running":
        started = asyncio.Event()
        self.worker.add_event_handler("on_pipeline_started", lambda *_: started.set())
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self.worker)
        self.task = asyncio.create_task(runner.run())
        await started.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.worker.cancel()
        await self.task


def audio(pcm: bytes) -> list[InputAudioRawFrame]:
    """PCM as frames of 20 ms, and two seconds of silence after it."""
    size = RATE // 50 * 2
    pcm += bytes(2 * RATE * 2)
    return [InputAudioRawFrame(pcm[at : at + size], RATE, 1) for at in range(0, len(pcm), size)]


async def main(base_url: str, text: str) -> None:
    """Say it, hear it as a file and as a stream."""
    async with Running(OpenAITTSService(api_key="none", base_url=base_url)) as speaker:
        await speaker.worker.queue_frame(TTSSpeakFrame(text))
        await asyncio.wait_for(speaker.end.spoken.wait(), PATIENCE)
        said = speaker.end.audio
    print(json.dumps({"event": "said", "seconds": len(said) / RATE / 2}))

    async with Running(OpenAISTTService(api_key="none", base_url=base_url)) as listener:
        await listener.worker.queue_frames([VADUserStartedSpeakingFrame(), *audio(said), VADUserStoppedSpeakingFrame()])
        print(json.dumps({"event": "heard", "text": await asyncio.wait_for(listener.end.words, PATIENCE)}))

    live_url = base_url.replace("http", "ws", 1) + "/realtime"
    live = OpenAIRealtimeSTTService(api_key="none", base_url=live_url, turn_detection=None)
    async with Running(live) as listener:
        for frame in audio(said):
            await listener.worker.queue_frame(frame)
            await asyncio.sleep(0.02)
        print(json.dumps({"event": "heard_live", "text": await asyncio.wait_for(listener.end.words, PATIENCE)}))


asyncio.run(main(*sys.argv[1:]))
