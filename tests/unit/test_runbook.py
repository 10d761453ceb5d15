"""The runbook has a section for each alarm, and none that no alarm or other section leads to."""

import re

from tests.support.fleet_template import REPOSITORY, fleet_template

RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### (\S+)$", RUNBOOK, re.MULTILINE)
LINKS = set(re.findall(r"\(#([\w-]+)\)", RUNBOOK))


def alarm_sections() -> dict[str, str]:
    """The section that each alarm's description names. Alarms of scaling policies wake nobody and name none."""
    alarms = {
        resource["Properties"]["AlarmName"]: resource["Properties"]["AlarmDescription"]
        for name, resource in fleet_template()["Resources"].items()
        if resource["Type"] in {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"}
        and name.startswith("Alarms")
    }
    return {name: description.rpartition("docs/runbook.md#")[2] for name, description in alarms.items()}


def test_every_alarm_names_a_section_that_is_there() -> None:
    sections = alarm_sections()
    assert len(sections) > 30
    assert {name: section for name, section in sections.items() if section not in SECTIONS} == {}


def test_every_section_is_led_to() -> None:
    assert set(SECTIONS) - set(alarm_sections().values()) - LINKS == set()


def test_no_link_leads_nowhere_and_no_section_is_there_twice() -> None:
    assert set(SECTIONS) >= LINKS
    assert len(SECTIONS) == len(set(SECTIONS))


def test_dashboards_link_to_sections_that_are_there() -> None:
    bodies = [
        str(resource["Properties"]["DashboardBody"])
        for resource in fleet_template()["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Dashboard"
    ]
    linked = {section for body in bodies for section in re.findall(r"docs/runbook\.md#([\w-]+)", body)}
    assert len(linked) > 15
    assert set(SECTIONS) >= linked
