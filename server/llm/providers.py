"""The language models that the settings name, as providers."""

from collections.abc import Callable
from pathlib import Path

from server.addresses import without_secrets
from server.llm.bedrock import BedrockProvider
from server.llm.converse import ConverseOptions
from server.llm.interface import LlmProvider
from server.llm.local import LocalProvider
from server.llm.model import Model
from server.llm.openai_compatible import OpenAiCompatibleProvider
from server.settings.settings import Settings

LOCAL_MODEL = "smollm2-135m"  # its name in the catalogue


def models_of(settings: Settings, model_path_for: Callable[[str], Path]) -> list[Model]:
    """All of `settings.llm`, in order; `model_path_for` gives the folder of a model in the store."""
    return [
        Model(without_secrets(name), _provider(name, settings, model_path_for), settings.llm_timeout_seconds)
        for name in settings.llm
    ]


def _provider(name: str, settings: Settings, model_path_for: Callable[[str], Path]) -> LlmProvider:
    kind, _, rest = name.partition(":")
    if kind == "bedrock":
        model_id, _, region = rest.partition("@")
        return BedrockProvider(
            ConverseOptions(
                model_id=model_id,
                latency=settings.bedrock_latency,
                guardrail_id=settings.bedrock_guardrail_id,
                guardrail_version=settings.bedrock_guardrail_version,
            ),
            region=region,
            max_requests=settings.max_sessions,
            timeout_seconds=settings.llm_timeout_seconds,
            keep_warm_seconds=settings.llm_keep_warm_seconds,
            prompt_cache=settings.bedrock_prompt_cache,
        )
    if kind == "openai":
        before, _, address = rest.rpartition("://")  # a user in the URL has an "@", too
        model, _, scheme = before.rpartition("@")
        return OpenAiCompatibleProvider(model, f"{scheme}://{address}", settings.llm_keys[name])
    folder = model_path_for(LOCAL_MODEL)
    return LocalProvider(next(folder.glob("*.gguf"), folder / "model.gguf"), settings.instructions)
