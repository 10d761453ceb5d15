"""What an alarm may count is there from the start, under every name that the code can count it by."""

import subprocess
import sys
from typing import get_args

from prometheus_client.parser import text_string_to_metric_families

from server.access.admission import AtCapacity, CallerAtCapacity, Draining
from server.access.call_time import EndReason
from server.conversation.commands import EndOfTurn
from server.fleet.group_requests import GroupRequest
from server.held_answer import Outcome
from server.llm.interface import LlmFailure
from server.websocket_handler import CutReason

EXPECTED = {
    "voice_handshakes_refused_total": {AtCapacity.reason, CallerAtCapacity.reason, Draining.reason}
    | {"audio", "credentials", "origin", "path", "subprotocol", "ticket"},
    "voice_calls_ended_total": {*get_args(EndReason), *get_args(CutReason)},
    "voice_speculations_total": set(get_args(Outcome)),
    "voice_speculation_wasted_seconds_total": {"model", "speech"},
    "voice_speculation_wasted_tokens_total": {"input", "output"},
    "voice_turn_ends_total": set(get_args(EndOfTurn)),
    "voice_model_cpu_seconds_total": {"vad", "smart_turn"},
    "voice_queue_refused_total": {"smart_turn", "stt", "tts", "outgoing"},
    "voice_llm_errors_total": set(get_args(LlmFailure)),
    "voice_worker_restarts_total": {"stt", "tts"},
    "voice_worker_retries_total": {"stt", "tts"},
    "voice_speech_errors_total": {"stt", "tts"},
    "voice_interruption_notices_total": {"spot", "rebalance"},
    "voice_fleet_errors_total": {kind.__name__ for kind in get_args(GroupRequest)} | {"PutMetricData"},
}


def test_a_counter_with_known_labels_starts_at_zero() -> None:
    program = (
        "import prometheus_client; from server.observability.metrics import REGISTRY; "
        "print(prometheus_client.generate_latest(REGISTRY).decode())"
    )
    page = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    for name, values in EXPECTED.items():
        found = {value: sample.value for sample in samples if sample.name == name for value in sample.labels.values()}
        assert found == dict.fromkeys(values, 0.0)
