from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TranscribeRequest(_message.Message):
    __slots__ = ("pcm", "language", "prompt", "call", "early", "fragment", "probabilities", "thorough")
    PCM_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    EARLY_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    THOROUGH_FIELD_NUMBER: _ClassVar[int]
    pcm: bytes
    language: str
    prompt: str
    call: str
    early: bool
    fragment: bool
    probabilities: bool
    thorough: bool
    def __init__(self, pcm: _Optional[bytes] = ..., language: _Optional[str] = ..., prompt: _Optional[str] = ..., call: _Optional[str] = ..., early: _Optional[bool] = ..., fragment: _Optional[bool] = ..., probabilities: _Optional[bool] = ..., thorough: _Optional[bool] = ...) -> None: ...

class TranscribeReply(_message.Message):
    __slots__ = ("text", "refused_by", "queue_seconds", "inference_seconds", "batch_size", "sure", "tokens")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_BY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    SURE_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    text: str
    refused_by: str
    queue_seconds: float
    inference_seconds: float
    batch_size: int
    sure: bool
    tokens: _containers.RepeatedCompositeFieldContainer[Token]
    def __init__(self, text: _Optional[str] = ..., refused_by: _Optional[str] = ..., queue_seconds: _Optional[float] = ..., inference_seconds: _Optional[float] = ..., batch_size: _Optional[int] = ..., sure: _Optional[bool] = ..., tokens: _Optional[_Iterable[_Union[Token, _Mapping]]] = ...) -> None: ...

class Token(_message.Message):
    __slots__ = ("text", "log_probability")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    text: bytes
    log_probability: float
    def __init__(self, text: _Optional[bytes] = ..., log_probability: _Optional[float] = ...) -> None: ...

class ListLanguagesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListLanguagesReply(_message.Message):
    __slots__ = ("languages",)
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    languages: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, languages: _Optional[_Iterable[str]] = ...) -> None: ...

class SynthesizeRequest(_message.Message):
    __slots__ = ("text", "voice", "speed", "skip_samples", "call", "needed_in_seconds", "progress")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    SKIP_SAMPLES_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    NEEDED_IN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    text: str
    voice: str
    speed: float
    skip_samples: int
    call: str
    needed_in_seconds: float
    progress: Progress
    def __init__(self, text: _Optional[str] = ..., voice: _Optional[str] = ..., speed: _Optional[float] = ..., skip_samples: _Optional[int] = ..., call: _Optional[str] = ..., needed_in_seconds: _Optional[float] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ...) -> None: ...

class AudioChunk(_message.Message):
    __slots__ = ("pcm", "progress")
    PCM_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    pcm: bytes
    progress: Progress
    def __init__(self, pcm: _Optional[bytes] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("piece", "samples", "tokens")
    PIECE_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    piece: int
    samples: int
    tokens: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, piece: _Optional[int] = ..., samples: _Optional[int] = ..., tokens: _Optional[_Iterable[int]] = ...) -> None: ...

class ListVoicesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListVoicesReply(_message.Message):
    __slots__ = ("engine", "sample_rate", "voices", "streams")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    VOICES_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    engine: str
    sample_rate: int
    voices: _containers.RepeatedCompositeFieldContainer[Voice]
    streams: int
    def __init__(self, engine: _Optional[str] = ..., sample_rate: _Optional[int] = ..., voices: _Optional[_Iterable[_Union[Voice, _Mapping]]] = ..., streams: _Optional[int] = ...) -> None: ...

class Voice(_message.Message):
    __slots__ = ("name", "language", "description", "is_default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    language: str
    description: str
    is_default: bool
    def __init__(self, name: _Optional[str] = ..., language: _Optional[str] = ..., description: _Optional[str] = ..., is_default: _Optional[bool] = ...) -> None: ...
