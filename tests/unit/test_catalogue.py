import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from server.models.catalogue import (
    STT_MODELS,
    TTS_MODELS,
    Hub,
    Wheels,
    load_catalogue,
    parse_catalogue,
    required_models,
)
from server.settings.loading import SettingsError
from server.settings.settings import Settings

SHA = "0" * 64


def entry(
    name: str = "m", path: str = "model.bin", sha256: str = SHA, size: int = 1, sources: str = "sources = []"
) -> str:
    file = f"{{ path = {json.dumps(path)}, size = {size}, sha256 = {json.dumps(sha256)} }}"
    return f'[[models]]\nname = {json.dumps(name)}\npurpose = "p"\nlicence = "MIT"\nfiles = [{file}]\n{sources}\n'


def settings(**given: str) -> Settings:
    return Settings.model_validate(given)


def test_the_catalogue_names_each_model_once_with_a_licence_and_a_source() -> None:
    catalogue = load_catalogue()

    assert list(catalogue) == [
        "silero-vad",
        "smart-turn-v3.2",
        "tiny.en",
        "base",
        "small",
        "smollm2-135m",
        "hibari-heart",
        "chatterbox-turbo",
    ]
    for model in catalogue.values():
        assert model.licence in {"MIT", "Apache-2.0", "BSD-2-Clause"}
        assert model.sources
        assert model.size == sum(file.size for file in model.files)


def test_every_whisper_model_has_the_files_that_recognition_reads_and_comes_from_the_hub_first() -> None:
    for name in ("tiny.en", "base", "small"):
        model = load_catalogue()[name]
        assert {file.path for file in model.files} == {"config.json", "tokenizer.json", "vocabulary.txt", "model.bin"}
        assert isinstance(model.sources[0], Hub)


def test_chatterbox_has_what_upstream_reads_and_not_the_gigabyte_that_it_does_not() -> None:
    assert {file.path for file in load_catalogue()["chatterbox-turbo"].files} == {
        "t3_turbo_v1.safetensors",
        "s3gen_meanflow.safetensors",
        "ve.safetensors",
        "conds.pt",
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    }


def test_what_a_demonstration_loads_comes_from_the_registry_too() -> None:
    for name in required_models(settings()):
        assert any(isinstance(source, Wheels) for source in load_catalogue()[name].sources)


@pytest.mark.parametrize("path", ["../model.bin", "a/../../b", "/etc/passwd", "a\\..\\b", ""])
def test_a_path_that_leaves_the_model_folder_is_refused(path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="no path inside"):
        parse_catalogue(entry(path=path))


@pytest.mark.parametrize("name", ["..", "a/b", ".partial", ""])
def test_a_name_that_is_no_plain_folder_name_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="name"):
        parse_catalogue(entry(name=name))


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "A" * 64])
def test_a_hash_that_is_none_is_refused(sha256: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="sha256"):
        parse_catalogue(entry(sha256=sha256))


@pytest.mark.parametrize(
    "sources",
    [
        '[[models.sources]]\ntype = "hub"\nrepo = "o/r"\nrevision = "main"',  # a branch can change under the hash
        '[[models.sources]]\ntype = "wheels"\nrequirements = ["x>=1"]\nmembers."model.bin" = ["m"]',
        '[[models.sources]]\ntype = "wheels"\nrequirements = ["-r x==1"]\nmembers."model.bin" = ["m"]',
        '[[models.sources]]\ntype = "wheels"\nrequirements = ["x==1"]\nmembers."other.bin" = ["m"]',
        '[[models.sources]]\ntype = "ftp"\nurl = "ftp://x"',
    ],
)
def test_a_source_that_is_not_pinned_or_not_complete_is_refused(sources: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_catalogue(entry(sources=sources))


def test_a_node_needs_the_models_of_its_settings() -> None:
    assert required_models(settings()) == [
        "silero-vad",
        "smart-turn-v3.2",
        "tiny.en",
        "smollm2-135m",
        "hibari-heart",
    ]
    assert required_models(settings(stt_model="base", llm="bedrock:some.model")) == [
        "silero-vad",
        "smart-turn-v3.2",
        "base",
        "hibari-heart",
    ]


def test_every_voice_engine_has_a_model() -> None:
    engines = get_args(Settings.model_fields["tts"].annotation)

    assert set(engines) <= set(TTS_MODELS)
    for engine in engines:
        assert required_models(settings(tts=engine))[-1] == TTS_MODELS[engine]
    assert set(TTS_MODELS.values()) <= set(load_catalogue())


def test_a_gateway_whose_voices_are_elsewhere_needs_no_voice_model() -> None:
    assert "hibari-heart" not in required_models(settings(tts_address="speech-1:9300,speech-2:9300"))
    assert "hibari-heart" in required_models(settings(tts_address="speech-1:9300,unix:/run/tts.sock"))


def test_a_folder_of_the_users_own_is_not_fetched(tmp_path: Path) -> None:
    assert required_models(settings(stt_model=str(tmp_path))) == [
        "silero-vad",
        "smart-turn-v3.2",
        "smollm2-135m",
        "hibari-heart",
    ]


@pytest.mark.parametrize("name", ["large-v9", "hibari-heart"])
def test_what_is_no_whisper_model_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^VOICE_STT_MODEL: got '{name}'; takes 'tiny\.en' or 'base' or"):
        required_models(settings(stt_model=name))


def test_the_whisper_models_are_those_that_recognise_speech() -> None:
    purposes = {model.name: model.purpose for model in load_catalogue().values()}
    assert list(STT_MODELS) == [name for name, purpose in purposes.items() if purpose.startswith("speech recognition")]
    assert [name for name in STT_MODELS if "languages" not in purposes[name]] == ["tiny.en"]
