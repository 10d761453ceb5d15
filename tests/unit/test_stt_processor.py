"""The gateway's side of speech recognition, against workers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from server import stt_processor
from server.conversation.events import Token
from server.observability import metrics
from server.stt_processor import SttError, SttProcessor, Transcript
from server.workers import speech_pb2, speech_pb2_grpc
from tests.support.grpc_standin import serving

Script = Callable[[int, grpc.aio.ServicerContext], Awaitable[speech_pb2.TranscribeReply]]


class _Worker(speech_pb2_grpc.SpeechToTextServicer):
    """Hears what `script` says, which is told how many tries came before; keeps the requests."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[speech_pb2.TranscribeRequest] = []
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def Transcribe(
        self, request: speech_pb2.TranscribeRequest, context: grpc.aio.ServicerContext
    ) -> speech_pb2.TranscribeReply:
        self.requests.append(request)
        self.asked.set()
        try:
            return await self._script(len(self.requests) - 1, context)
        finally:
            self.left.set()


@asynccontextmanager
async def _connected(script: Script) -> AsyncIterator[tuple[SttProcessor, _Worker]]:
    worker = _Worker(script)

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_SpeechToTextServicer_to_server(worker, server)  # type: ignore[no-untyped-call] # generated

    async with serving(register) as address, SttProcessor(address, "en", "Voicefleet") as processor:
        yield processor, worker


def _fails_with(code: grpc.StatusCode, times: int) -> Script:
    async def script(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        if attempt < times:
            await context.abort(code, "the reason")
        return await _well(attempt, context)

    return script


async def _well(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
    return speech_pb2.TranscribeReply(text="hello", queue_seconds=0.25, inference_seconds=0.5, batch_size=2, sure=True)


def _counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_an_utterance_gives_its_text_and_what_it_cost() -> None:
    async with _connected(_well) as (processor, _):
        assert await processor.transcribe(b"\0\0") == Transcript("hello", "", 0.25, 0.5, sure=True)


async def test_who_asks_for_probabilities_gets_the_tokens() -> None:
    async def script(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        return speech_pb2.TranscribeReply(text="hi", tokens=[speech_pb2.Token(text=b" hi", log_probability=-0.5)])

    async with _connected(script) as (processor, worker):
        transcript = await processor.session().transcribe(b"\0\0", probabilities=True)
        await processor.transcribe(b"\0\0")
    assert transcript.tokens == (Token(b" hi", -0.5),)
    assert [request.probabilities for request in worker.requests] == [True, False]


async def test_how_an_utterance_is_to_be_heard_is_said_to_the_worker() -> None:
    async with _connected(_well) as (processor, worker):
        await processor.session().transcribe(b"\0\0", fragment=True)
        await processor.session().transcribe(b"\0\0", thorough=True)
    assert [(request.fragment, request.thorough) for request in worker.requests] == [(True, False), (False, True)]


async def test_the_session_s_own_language_and_prompt_come_before_the_node_s() -> None:
    async with _connected(_well) as (processor, worker):
        await processor.transcribe(b"\0\0")
        await processor.transcribe(b"\0\0", "de", "Spargel")
    assert [(request.language, request.prompt) for request in worker.requests] == [
        ("en", "Voicefleet"),
        ("de", "Spargel"),
    ]


async def test_a_glimpse_is_asked_for_early_and_counted() -> None:
    before = _counted("voice_early_words_total", outcome="heard")
    async with _connected(_well) as (processor, worker):
        assert await processor.session().glimpse(b"\0\0") == Transcript("hello", "", 0.25, 0.5, sure=True)
    assert [(request.early, request.language, request.prompt) for request in worker.requests] == [
        (True, "en", "Voicefleet")
    ]
    assert _counted("voice_early_words_total", outcome="heard") == before + 1


async def test_a_glimpse_that_a_busy_worker_refuses_is_counted_as_such_and_is_no_error() -> None:
    names = ("voice_queue_refused_total", "voice_speech_errors_total")
    before = _counted("voice_early_words_total", outcome="busy")
    errors = [_counted(names[0], queue="stt"), _counted(names[1], worker="stt")]
    async with _connected(_fails_with(grpc.StatusCode.RESOURCE_EXHAUSTED, 1)) as (processor, _):
        assert await processor.session().glimpse(b"\0\0") is None
    assert _counted("voice_early_words_total", outcome="busy") == before + 1
    assert [_counted(names[0], queue="stt"), _counted(names[1], worker="stt")] == errors


async def test_a_session_that_has_enough_at_the_worker_asks_for_no_glimpse() -> None:
    release = asyncio.Event()

    async def script(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        await release.wait()
        return await _well(attempt, context)

    async with _connected(script) as (processor, worker), asyncio.TaskGroup() as tasks:
        session = processor.session()
        for _ in range(2):
            tasks.create_task(session.transcribe(b"\0\0"))
        await worker.asked.wait()
        assert await session.glimpse(b"\0\0") is None
        release.set()
    assert len(worker.requests) == 2


async def test_a_refusal_is_counted_by_its_gate() -> None:
    async def refuses(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        return speech_pb2.TranscribeReply(refused_by="no_speech", batch_size=1)

    before = _counted("voice_stt_refused_total", gate="no_speech")
    async with _connected(refuses) as (processor, _):
        assert (await processor.transcribe(b"\0\0")).refused_by == "no_speech"
    assert _counted("voice_stt_refused_total", gate="no_speech") == before + 1


async def test_an_utterance_survives_the_worker_s_death_once() -> None:
    before = _counted("voice_worker_retries_total", worker="stt")
    async with _connected(_fails_with(grpc.StatusCode.UNAVAILABLE, times=1)) as (processor, worker):
        assert (await processor.transcribe(b"\0\0")).text == "hello"
    assert len(worker.requests) == 2
    assert _counted("voice_worker_retries_total", worker="stt") == before + 1


@pytest.mark.parametrize(
    ("code", "failure", "says", "tries"),
    [
        (grpc.StatusCode.UNAVAILABLE, "unavailable", "the worker answered UNAVAILABLE$", 2),
        (grpc.StatusCode.INTERNAL, "unavailable", "the worker answered INTERNAL$", 2),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", "the reason", 1),
        (grpc.StatusCode.INVALID_ARGUMENT, "invalid_audio", "the reason", 1),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "timeout", "the reason", 1),
    ],
)
async def test_failures_are_typed_and_only_a_death_is_tried_again(
    code: grpc.StatusCode, failure: str, says: str, tries: int
) -> None:
    before = _counted("voice_speech_errors_total", part="stt")
    async with _connected(_fails_with(code, times=2)) as (processor, worker):
        with pytest.raises(SttError, match=says) as raised:
            await processor.transcribe(b"\0\0")
    assert raised.value.failure == failure
    assert len(worker.requests) == tries
    assert _counted("voice_speech_errors_total", part="stt") == before + 1, (
        "once for the session, however often it was tried"
    )


async def test_a_stalled_worker_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stt_processor, "_DEADLINE_SECONDS", 0.1)

    async def stalls(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        await asyncio.Event().wait()
        raise AssertionError

    async with _connected(stalls) as (processor, _):
        with pytest.raises(SttError) as raised:
            await processor.transcribe(b"\0\0")
    assert raised.value.failure == "timeout"


async def test_cancelling_reaches_the_worker() -> None:
    async def stalls(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        await asyncio.Event().wait()
        raise AssertionError

    async with _connected(stalls) as (processor, worker):
        asking = asyncio.create_task(processor.transcribe(b"\0\0"))
        async with asyncio.timeout(2):
            await worker.asked.wait()
            asking.cancel()
            await worker.left.wait()
    assert asking.cancelled()
    assert _counted("voice_queue_depth", queue="stt") == 0


# --- what one session may ask for


async def test_a_session_has_two_utterances_at_the_worker_and_the_rest_wait_their_turn() -> None:
    may_answer = asyncio.Semaphore(0)

    async def waits(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        await may_answer.acquire()
        return speech_pb2.TranscribeReply(text=str(attempt))

    async with _connected(waits) as (processor, worker):
        greedy, modest = processor.session(), processor.session()
        asked = [asyncio.create_task(greedy.transcribe(bytes([number, 0]))) for number in range(6)]
        asking = asyncio.create_task(modest.transcribe(b"\x63\0"))
        async with asyncio.timeout(5):
            while len(worker.requests) < 3:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.001)
            assert {request.pcm[0] for request in worker.requests} == {0, 1, 99}
            calls = {request.pcm[0]: request.call for request in worker.requests}
            assert calls[0] == calls[1] != calls[99]
            for _ in range(7):
                may_answer.release()
            await asyncio.gather(*asked, asking)
    assert [request.pcm[0] for request in worker.requests][3:] == [2, 3, 4, 5]


async def test_a_session_that_has_too_much_waiting_is_busy_and_no_other_is() -> None:
    async def stalls(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        if worker.requests[attempt].pcm == b"\1\0":
            return await _well(attempt, context)
        await asyncio.Event().wait()
        raise AssertionError

    async with _connected(stalls) as (processor, worker):
        greedy, modest = processor.session(), processor.session()
        short, long = b"\0\0", bytes(32_000 * 200)
        asked = [asyncio.create_task(greedy.transcribe(pcm)) for pcm in (short, short, long, *[short] * 6)]
        await asyncio.sleep(0)
        refused = _counted("voice_queue_refused_total", queue="stt")
        met = _counted("voice_limits_met_total", limit="max_waiting_audio_seconds")
        with pytest.raises(SttError, match="290 s of this call's audio are waiting already") as raised:
            await greedy.transcribe(short)
        assert raised.value.failure == "busy"
        assert _counted("voice_queue_refused_total", queue="stt") == refused + 1
        assert _counted("voice_limits_met_total", limit="max_waiting_audio_seconds") == met + 1
        assert (await modest.transcribe(b"\1\0")).text == "hello"
        asked[2].cancel()
        await asyncio.wait(asked[2:3])
        asked.append(asyncio.create_task(greedy.transcribe(short)))  # there is room again
        await asyncio.sleep(0)
        assert not asked[-1].done()
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
    assert _counted("voice_queue_depth", queue="stt") == 0


async def test_more_than_five_minutes_are_refused_before_they_are_sent() -> None:
    async with _connected(_well) as (processor, worker):
        with pytest.raises(SttError, match="got 301 s of audio; an utterance takes 300 s at most") as raised:
            await processor.transcribe(bytes(32_000 * 301))
    assert raised.value.failure == "invalid_audio"
    assert not worker.requests


# --- what a worker may say


@pytest.mark.parametrize(
    "reply",
    [
        speech_pb2.TranscribeReply(text="x" * 2000),
        speech_pb2.TranscribeReply(refused_by="a gate that is none"),
        speech_pb2.TranscribeReply(text="hello", queue_seconds=float("nan")),
        speech_pb2.TranscribeReply(text="hello", inference_seconds=-1.0),
        speech_pb2.TranscribeReply(text="hello", batch_size=1 << 31),
    ],
    ids=["a long text", "an unknown gate", "no number", "less than no time", "a huge batch"],
)
async def test_an_answer_that_can_not_be_is_a_failure_of_the_worker(reply: speech_pb2.TranscribeReply) -> None:
    async def lies(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        return reply

    async with _connected(lies) as (processor, _):
        with pytest.raises(SttError, match="an answer that can't be") as raised:
            await processor.transcribe(b"\0\0")
    assert raised.value.failure == "unavailable"


async def test_of_an_endless_list_of_languages_a_thousand_are_believed() -> None:
    class Polyglot(_Worker):
        async def ListLanguages(
            self, request: speech_pb2.ListLanguagesRequest, context: grpc.aio.ServicerContext
        ) -> speech_pb2.ListLanguagesReply:
            return speech_pb2.ListLanguagesReply(languages=["en", "x" * 1000, *map(str, range(5000))])

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_SpeechToTextServicer_to_server(Polyglot(_well), server)  # type: ignore[no-untyped-call] # generated

    async with serving(register) as address, SttProcessor(address) as processor:
        assert processor.languages is not None
        assert "en" in processor.languages
        assert len(processor.languages) == 999


async def test_how_much_audio_of_a_session_may_wait_is_set() -> None:
    async def stalls(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        await asyncio.Event().wait()
        raise AssertionError

    async with _connected(stalls) as (processor, _):
        session = processor.session(max_waiting_seconds=30.0)
        asked = [asyncio.create_task(session.transcribe(b"\0\0")) for _ in range(4)]  # each counts for 15 s
        await asyncio.sleep(0)
        with pytest.raises(SttError, match="30 s of this call's audio are waiting already"):
            await session.transcribe(b"\0\0")
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
