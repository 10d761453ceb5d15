"""What /health tells of a node's parts to anyone who asks."""

from pathlib import Path

from server.llm_processor import LlmProcessor
from server.models.store import ModelStore
from server.node.node import Node
from server.settings.settings import Settings


def test_who_asks_for_health_does_not_see_the_models_password(tmp_path: Path) -> None:
    settings = Settings(llm="openai:m@https://anna:tulip@http.example/v1?key=tulip", model_dir=tmp_path)
    node = Node(settings, ModelStore(tmp_path))
    node._llm = LlmProcessor.from_settings(settings, lambda _: tmp_path)
    assert node.parts()["llm"].detail == "openai:m@https://http.example/v1: starting"
