"""The alarms of a synthesised fleet: who is told of what, and what silence means."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from infra.alarms import AlarmConfig
from tests.support.fleet_template import fleet_template

GROUP = "voicefleet-prod-"


def alarms(kind: str = "Alarm") -> dict[str, dict[str, Any]]:
    return {
        resource["Properties"]["AlarmName"].removeprefix(GROUP): resource["Properties"]
        for name, resource in fleet_template()["Resources"].items()
        if resource["Type"] == f"AWS::CloudWatch::{kind}" and name.startswith("Alarms")
    }


def children() -> dict[str, set[str]]:
    """The alarms of each composite."""
    by_id = {
        name: resource["Properties"]["AlarmName"].removeprefix(GROUP)
        for name, resource in fleet_template()["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm" and name.startswith("Alarms")
    }
    return {
        name: {by_id[found] for found in re.findall(r"'Fn::GetAtt': \['(\w+)'", str(composite["AlarmRule"]))}
        for name, composite in alarms("CompositeAlarm").items()
    }


def test_an_alarm_of_a_composite_does_not_notify_and_every_other_one_does() -> None:
    silent = {name for name, alarm in alarms().items() if not alarm.get("AlarmActions")}
    assert silent == set().union(*children().values())
    assert all(len(alarm["AlarmActions"]) == 1 for alarm in alarms("CompositeAlarm").values())


def test_whoever_tells_of_trouble_tells_of_its_end() -> None:
    for alarm in [*alarms().values(), *alarms("CompositeAlarm").values()]:
        assert alarm.get("OKActions") == alarm.get("AlarmActions")


def test_the_composites_are_of_what_callers_notice_what_they_will_and_of_gpus() -> None:
    composites = children()
    assert composites.keys() == {"callers-hurt", "capacity", "gpu-failing"}
    assert {"no-healthy-target", "answers-slow", "calls-refused", "audio-gaps", "calls-cut"} <= composites[
        "callers-hurt"
    ]
    assert {"stt-errors", "tts-errors", "llm-errors"} <= composites["callers-hurt"]
    assert {"utilization-high", "scaling-metric-missing", "launch-failures"} <= composites["capacity"]
    assert {"gpu-xid", "gpu-xid-in-log", "gpu-ecc-double-bit", "gpu-row-remap-failure"} <= composites["gpu-failing"]


def test_silence_is_bad_only_where_something_has_to_report() -> None:
    breaching = {name for name, alarm in alarms().items() if alarm["TreatMissingData"] == "breaching"}
    assert breaching == {
        "no-healthy-target",
        "scaling-metric-missing",
        "node-not-publishing",
        "gpu-exporter-missing",
        "node-exporter-missing",
        "agent-missing",
    }


def test_a_rollout_is_rolled_back_by_alarms_that_a_bad_image_sets_off() -> None:
    resources = fleet_template()["Resources"]
    (group,) = [r for r in resources.values() if r["Type"] == "AWS::AutoScaling::AutoScalingGroup"]
    watched = group["UpdatePolicy"]["AutoScalingInstanceRefresh"]["Preferences"]["AlarmSpecification"]["Alarms"]
    names = {name.removeprefix(GROUP) for name in watched}
    assert names <= alarms().keys()
    assert {"no-healthy-target", "answers-slow", "stt-errors", "tts-errors", "service-restarts"} <= names
    assert len(names) <= 10, "an instance refresh takes ten at most"


def test_one_node_whose_models_lie_on_its_root_volume_is_told_of() -> None:
    alarm = alarms()["model-cache-on-root"]
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == ("voice_model_cache_on_root", "Maximum", 1)
    assert alarm["AlarmActions"]


def test_no_alarm_needs_the_group_that_needs_it() -> None:
    assert "AWS::AutoScaling" not in str(alarms())
    for alarm in alarms().values():
        assert "FleetGroup" not in str(alarm)


def test_thresholds_are_those_of_the_configuration() -> None:
    config = AlarmConfig()
    assert alarms()["answers-slow"]["Threshold"] == config.voice_to_voice_p95_seconds
    assert alarms()["gpu-memory-low"]["Threshold"] == config.gpu_memory_free_mib
    assert alarms()["nodes-pending"]["EvaluationPeriods"] == config.pending_minutes


def test_every_description_fits_and_says_what_to_do_whether_it_notifies_and_where_to_read_on() -> None:
    for name, alarm in alarms().items():
        assert re.fullmatch(r"[A-Z][^\n]+\. Notifies[^\n]*\. docs/runbook\.md#[\w-]+", alarm["AlarmDescription"]), name
        assert len(alarm["AlarmDescription"]) <= 1024


@pytest.mark.parametrize("wrong", [{"utilization": 1.2}, {"gpu_celsius": 0}, {"pager": "yes"}])
def test_a_wrong_threshold_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AlarmConfig(**wrong)


def test_an_operator_is_told_of_excuses_at_once_and_of_stand_ins_after_some_minutes() -> None:
    assert "spoken-lines" in children()["callers-hurt"]
    assert alarms()["spoken-lines"]["EvaluationPeriods"] == 1
    failovers = alarms()["llm-failovers"]
    assert (failovers["DatapointsToAlarm"], failovers["EvaluationPeriods"]) == (2, 3)
    assert failovers["AlarmActions"], "callers are answered, so that it is no part of what hurts them"
    (counted,) = [query["MetricStat"] for query in failovers["Metrics"] if "failovers" in query["Id"]]
    assert counted["Metric"]["MetricName"] == "voice_llm_failovers_total"
    assert counted["Period"] == 300
