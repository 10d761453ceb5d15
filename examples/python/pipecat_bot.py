"""A telephone assistant in pipecat whose model is a Voicefleet node: it hears, thinks and speaks there.

Telephone calls come in as Twilio Media Streams. Run it as README says.
"""

import asyncio
import os
from contextlib import suppress

from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.runner.types import WebSocketRunnerArguments
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SemanticTurnDetection,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner
from websockets.exceptions import ConnectionClosed

URL = os.environ.get("VOICEFLEET_URL", "ws://127.0.0.1:9000/v1")
KEY = os.environ.get("VOICEFLEET_KEY", "none")  # any text will do where the node has no keys
RETRIES, RETRY_SECONDS = 4, 2.0  # a full node answers 503: another one may have room


async def opening_hours(params: FunctionCallParams, day: str) -> None:
    """When the library is open.

    Args:
        day: The day of the week, in English.
    """
    await params.result_callback("closed" if day.lower() == "sunday" else "from nine to five")


class NodeService(OpenAIRealtimeLLMService):
    """pipecat's model, which does not call again by itself: neither when a node is full, nor when it is lost."""

    async def _connect(self) -> None:
        for _ in range(1 + RETRIES):
            await super()._connect()
            if self._websocket:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _receive_task_handler(self) -> None:
        with suppress(ConnectionClosed):
            await super()._receive_task_handler()
        if not self._disconnecting:
            self.create_task(self._call_again())

    async def _call_again(self) -> None:
        await self.reset_conversation()
        await self._create_response()  # another call knows nothing: it is told what was said so far, and goes on


async def bot(call: WebSocketRunnerArguments) -> None:
    """Hold one call."""
    _, stream = await parse_telephony_websocket(call.websocket)
    # Twilio hangs up when the stream ends, unless its TwiML goes on.
    twilio = TwilioFrameSerializer(stream.stream_id, params=TwilioFrameSerializer.InputParams(auto_hang_up=False))
    transport = FastAPIWebsocketTransport(
        call.websocket, FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=twilio)
    )
    hearing = AudioInput(transcription=InputAudioTranscription(), turn_detection=SemanticTurnDetection())
    model = NodeService(
        api_key=KEY,
        base_url=f"{URL}/realtime",
        settings=NodeService.Settings(
            model="voicefleet",
            system_instruction="You answer a library's telephone. Say one or two short sentences at a time.",
            session_properties=SessionProperties(audio=AudioConfiguration(input=hearing)),
        ),
    )
    context = LLMContext([{"role": "developer", "content": "Greet the caller in one short sentence."}], [opening_hours])
    of_the_caller, of_the_model = LLMContextAggregatorPair(context)
    worker = PipelineWorker(Pipeline([transport.input(), of_the_caller, model, transport.output(), of_the_model]))

    @transport.event_handler("on_client_connected")
    async def _(*_: object) -> None:
        await worker.queue_frames([LLMRunFrame()])

    @transport.event_handler("on_client_disconnected")
    async def _(*_: object) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=call.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
