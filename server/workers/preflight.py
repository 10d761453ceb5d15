"""What can be known to be wrong with the speech settings before a model is fetched or loaded.

It fetches and loads nothing, and is quick. What only the loaded model knows, its worker says as it ends.
"""

from importlib.util import find_spec
from pathlib import Path

from server.models.catalogue import STT_MODEL_TAKES, STT_MODELS
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.workers.engine import EngineMissing

# fmt: off
CHATTERBOX_PACKAGES = (
    "chatterbox", "librosa", "perth", "pyloudnorm", "safetensors", "soundfile", "torch", "torchaudio", "transformers",
)
# fmt: on
"""What the engine imports of the extra `chatterbox`."""

_WHISPER_FILES = ("model.bin", "tokenizer.json")
_WHISPER_HEADER = b"WhisperSpec"  # in the first bytes of a model.bin, after two numbers
_HEADER_BYTES = 32


def check_stt(settings: Settings) -> None:
    """Raises `SettingsError` where speech recognition can't run on this machine as the settings have it."""
    if settings.stt_engine == "faster-whisper" and find_spec("faster_whisper") is None:
        raise SettingsError(
            f"VOICE_STT_ENGINE: got {settings.stt_engine!r}; {EngineMissing(settings.stt_engine, 'faster_whisper')}"
        )
    model, language = settings.stt_model, settings.stt_language
    if model not in STT_MODELS:
        if (fault := _fault_of(Path(model).expanduser())) is not None:
            raise SettingsError(f"VOICE_STT_MODEL: got {model!r}{fault}; takes {STT_MODEL_TAKES}")
    elif model.endswith(".en") and language not in ("", "en"):
        others = " or ".join(repr(name) for name in STT_MODELS if not name.endswith(".en"))
        raise SettingsError(
            f"VOICE_STT_LANGUAGE: got {language!r}, which VOICE_STT_MODEL {model!r} does not know; takes 'en' with it, "
            f"and any language of Whisper's with {others}"
        )
    if settings.stt_device == "cuda" and not _has_cuda():
        raise SettingsError("VOICE_STT_DEVICE: got 'cuda', and CUDA finds no device here; takes 'auto' or 'cpu'")


def check_tts(settings: Settings) -> None:
    """Raises `SettingsError` where the voice can't run on this machine as the settings have it."""
    if settings.tts != "chatterbox":
        return
    if missing := [package for package in CHATTERBOX_PACKAGES if find_spec(package) is None]:
        raise SettingsError(f"VOICE_TTS: got {settings.tts!r}; {EngineMissing(settings.tts, missing[0])}")
    if settings.tts_device != "cpu" and not _has_cuda():
        raise SettingsError(
            f"VOICE_TTS_DEVICE: got {settings.tts_device!r}, and CUDA finds no device here; on a cpu, which 'cpu' "
            "asks for, the model takes 6 s for a second of speech: the voice for it is VOICE_TTS=hibari"
        )
    place = settings.tts_voices
    if place and not place.startswith("s3://") and not Path(place).expanduser().is_dir():
        raise SettingsError(f"VOICE_TTS_VOICES: got {place!r}; takes a folder that exists, or s3://BUCKET/PREFIX")


def _fault_of(folder: Path) -> str | None:
    """What the folder lacks of a Whisper model, in words; nothing more where it is none, None where all seems well."""
    if not folder.is_dir():
        return ""
    if missing := [file for file in _WHISPER_FILES if not (folder / file).exists()]:
        return f", which lacks {' and '.join(missing)}"
    with (folder / "model.bin").open("rb") as file:
        is_whisper = _WHISPER_HEADER in file.read(_HEADER_BYTES)
    return None if is_whisper else ", whose model.bin is no Whisper model for CTranslate2"


def _has_cuda() -> bool:
    """Asks CTranslate2, which is quick, for torch as well, which takes seconds to import."""
    import ctranslate2  # noqa: PLC0415  # a gateway has no other use for it

    return bool(ctranslate2.get_cuda_device_count())
