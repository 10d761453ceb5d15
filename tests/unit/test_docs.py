"""The pages made from code are those the code makes, and everything in them has a name, a unit and a meaning."""

import re

import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from server.docs import FOLDER, metrics_page, settings_page
from server.docs.__main__ import PAGES
from server.observability import metrics
from server.observability.waterfall import STAGES
from server.settings.settings import Settings

DECLARED = {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}
DIMENSIONLESS = {
    "voice_sessions_active",
    "voice_sessions_capacity",
    "voice_draining",
    "voice_http_requests_in_progress",
    "voice_llm_breaker_state",
    "voice_reported_unhealthy",
    "voice_queue_depth",
    "voice_worker_up",
    "voice_tts_worker_up",
    "voice_tts_worker_outstanding",
    "voice_tts_worker_streams",
    "voice_stt_batch_size",
    "voice_vad_batch_size",
    "voice_event_loop_tasks",
}


@pytest.mark.parametrize("name", PAGES)
def test_what_is_made_from_the_code_is_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_setting_is_on_the_page_in_a_group_and_once() -> None:
    named = re.findall(r"^\| `VOICE_(\w+)` \|", settings_page().partition("\n## ")[2], re.MULTILINE)
    assert [name.lower() for name in named] == list(Settings.model_fields)


def test_every_metric_is_on_the_page_and_once() -> None:
    assert len(re.findall(r"^\| `voice_", metrics_page(), re.MULTILINE)) == len(DECLARED)


@pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED)
def test_a_metric_has_our_prefix_a_unit_and_one_sentence(metric: MetricWrapperBase) -> None:
    (family,) = metric.describe()
    assert family.name.startswith("voice_")
    assert (
        isinstance(metric, Counter)
        or family.name.endswith(("_seconds", "_bytes", "_ratio"))
        or family.name in DIMENSIONLESS
    )
    assert re.fullmatch(r"[A-Z0-9].*[^.]\.", family.documentation)
    assert "\n" not in family.documentation


def test_a_counter_is_shown_under_the_name_it_is_exported_by() -> None:
    assert "| `voice_sessions_total` | counter |" in metrics_page()


def test_a_label_is_shown_with_the_values_that_are_known() -> None:
    rows = {line.split("`")[1]: line.split(" | ")[2] for line in metrics_page().splitlines() if line.startswith("| `")}
    assert rows["voice_turn_stage_seconds"] == "`stage`: " + ", ".join(STAGES)
    assert rows["voice_turns_total"] == "`status`: completed, cancelled, incomplete, failed"
    assert rows["voice_tts_worker_up"] == "`worker`", "an address, which only a node knows"


def test_what_a_process_has_observed_does_not_change_the_page() -> None:
    before = metrics_page()
    metrics.client_errors.labels("made_up").inc()
    metrics.turns.labels("made_up").inc()
    try:
        assert metrics_page() == before
    finally:
        metrics.client_errors.remove("made_up")
        metrics.turns.remove("made_up")
