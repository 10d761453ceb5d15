"""Every declared metric is exported by a running node, and a turn is counted in those that it concerns."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.observability.metrics import REGISTRY
from server.observability.waterfall import STAGES
from tests.support.clips import BUNDLED, read_wav
from tests.support.live_call import LiveCall, live_call
from tests.support.node import NodeProcess
from tests.support.speech import resample

Values = dict[str, float]


def values(node: NodeProcess) -> Values:
    """Every sample by its name and labels, as `name{label=value}`."""
    return {
        sample.name + "".join(f"{{{label}={value}}}" for label, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(node.get("/metrics")[1])
        for sample in family.samples
    }


def added(before: Values, after: Values, name: str) -> float:
    return after.get(name, 0.0) - before.get(name, 0.0)


async def spoken_turn(call: LiveCall) -> None:
    await call.say(resample(read_wav(BUNDLED / "vm-next.wav"), 16_000, 24_000))
    await call.until("response.done")


async def test_a_spoken_turn_is_counted_in_every_metric_that_it_concerns(node: NodeProcess) -> None:
    await node.until(lambda: node.metric("voice_sessions_active") == 0)  # other tests' calls are over
    before = values(node)
    async with live_call(node.websocket) as call:
        during = values(node)
        await spoken_turn(call)
        after = values(node)
    assert added(before, during, "voice_sessions_total") == 1
    assert added(before, during, "voice_sessions_active") == 1
    assert during["voice_sessions_utilization_ratio"] == during["voice_sessions_active"] / 16
    for stage in STAGES:
        assert added(before, after, f"voice_turn_stage_seconds_count{{stage={stage}}}") == 1
    assert added(before, after, "voice_to_voice_seconds_count") == 1
    assert 0.5 < added(before, after, "voice_to_voice_seconds_sum") < 10, "from the end of speech, with the silence"
    assert added(before, after, "voice_turns_total{status=completed}") == 1
    assert added(before, after, "voice_llm_tokens_total{kind=output}") > 0
    assert added(before, after, "voice_stt_batch_size_count") >= 1
    assert added(before, after, "voice_vad_batch_size_count") > 30
    assert added(before, after, "voice_frame_lateness_seconds_count") > 0
    assert added(before, after, "voice_event_loop_lag_seconds_count") > 0
    assert added(before, after, "voice_interruptions_total") == 0
    for queue in ("stt", "tts"):
        assert after[f"voice_queue_depth{{queue={queue}}}"] == 0
    for worker in ("stt", "tts"):
        assert after[f"voice_worker_up{{worker={worker}}}"] == 1
    await node.until(lambda: added(before, values(node), "voice_session_seconds_count") >= 1)
    assert added(before, values(node), "voice_sessions_active") == 0


async def test_an_interruption_is_counted(node: NodeProcess) -> None:
    before = values(node)
    async with live_call(node.websocket) as call:
        await call.type("one two three four five six seven eight nine ten")
        await call.until("response.output_audio.delta")
        await spoken_turn(call)
        assert call.events[-1]["response"]["status"] == "cancelled"
    after = values(node)
    assert added(before, after, "voice_interruptions_total") == 1
    assert added(before, after, "voice_turns_total{status=cancelled}") == 1
    assert added(before, after, "voice_voices_judged_total{judgement=interruption}") == 1


async def test_an_error_and_a_refusal_are_counted_by_their_kind(node: NodeProcess) -> None:
    before = values(node)
    async with live_call(node.websocket) as call:
        await call.send("response.cancel")
        await call.error()
    with pytest.raises(Exception, match="404"):
        async with live_call(node.websocket.replace("/v1/realtime", "/elsewhere")):
            pass
    after = values(node)
    assert added(before, after, "voice_client_errors_total{code=response_cancel_not_active}") == 1
    assert added(before, after, "voice_handshakes_refused_total{reason=path}") == 1


def test_every_declared_metric_is_exported(node: NodeProcess) -> None:
    declared = {family.name: (family.type, family.documentation) for family in REGISTRY.collect()}
    exported = {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(node.get("/metrics")[1])
    }
    assert len(declared) > 30
    assert declared.items() <= exported.items()
