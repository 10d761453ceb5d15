"""What /health tells of a node's parts to anyone who asks."""

import time
from pathlib import Path

import pytest

from server.llm_processor import LlmProcessor
from server.models.store import ModelStore
from server.node.node import Node
from server.settings.settings import Settings


def test_who_asks_for_health_does_not_see_the_models_password(tmp_path: Path) -> None:
    settings = Settings(llm="openai:m@https://anna:tulip@http.example/v1?key=tulip", model_dir=tmp_path)
    node = Node(settings, ModelStore(tmp_path))
    node._llm = LlmProcessor.from_settings(settings, lambda _: tmp_path)
    assert node.parts()["llm"].detail == "openai:m@https://http.example/v1: starting"


@pytest.mark.parametrize(
    ("reason", "drain_seconds", "left"),
    [("sigterm", 7200.0, 7200.0), ("spot_interruption", 7200.0, 120.0), ("spot_interruption", 60.0, 60.0)],
)
def test_a_spot_notice_leaves_two_minutes_however_long_a_drain_may_take(
    tmp_path: Path, reason: str, drain_seconds: float, left: float
) -> None:
    """A client that is told to move has to know how long the node will be there."""
    node = Node(Settings(drain_seconds=drain_seconds), ModelStore(tmp_path))
    node.start_draining(reason)
    assert node.admission.drains_until == pytest.approx(time.monotonic() + left, abs=5.0)
