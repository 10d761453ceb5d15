"""Settings in the names that the Realtime API had in its beta, put into those of GA.

Pure. Many clients still send `voice`, `turn_detection` or `input_audio_format` at the top of a session; passed over in
silence they would make a deaf call. A name of GA wins over the old one. Source: PyPI `openai` 1.x,
`openai/types/beta/realtime`.
"""

from collections.abc import Mapping
from typing import Any

from server.conversation.errors import ConversationError

_FORMATS: dict[str, dict[str, Any]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_PLACES = {
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "output_audio_format": ("audio", "output", "format"),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "temperature": ("x_temperature",),
}


class UnknownFormat(ConversationError):
    """An audio format by a name that neither the beta nor GA has."""

    def __init__(self, name: str, param: str) -> None:
        super().__init__(f"unknown audio format {name[:64]!r}; takes {', '.join(_FORMATS)}", param)


def in_ga_names(settings: Mapping[str, Any], root: str) -> dict[str, Any]:
    """The settings of a session or a response, `root` in the client's event. Raises `UnknownFormat`."""
    renamed = {name: value for name, value in settings.items() if name not in _PLACES}
    for name, place in _PLACES.items():
        if name in settings:
            _lay_under(renamed, place, _value(name, settings[name], f"{root}.{name}"))
    return renamed


def _value(name: str, value: Any, param: str) -> Any:
    if name.endswith("audio_format") and isinstance(value, str):
        if value not in _FORMATS:
            raise UnknownFormat(value, param)
        return _FORMATS[value]
    if name == "modalities" and isinstance(value, list) and "audio" in value:
        return ["audio"]  # which brings its text along; GA has no word for both
    return value


def _lay_under(settings: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    """Put `value` at `place` unless there is something; objects on the way are copied or made."""
    *path, last = place
    for name in path:
        inner = settings.get(name)
        if inner is not None and not isinstance(inner, dict):
            return  # it is wrong, and will be refused by its own name
        settings[name] = dict(inner or {})
        settings = settings[name]
    settings.setdefault(last, value)
