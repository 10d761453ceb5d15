"""Settings: speech recognition and voices."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from server.settings.field_types import InOrder, LongSecret


class SpeechSettings(BaseModel):
    """The workers: which models they run, where, and how they are reached."""

    # --- speech recognition
    stt_engine: Literal["whisper", "faster-whisper"] = Field(
        "whisper",
        description="Speech recognition engine: whisper, or the package faster-whisper (an extra, see docs/models.md), "
        "which takes several times as long. Both run the same models.",
    )
    stt_model: str = Field(
        "tiny.en", min_length=1, description="Whisper model: a name from `voicefleet models list` or a folder."
    )
    stt_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where it runs: int8 on cpu, float16 on cuda."
    )
    stt_language: str = Field(
        "en", pattern=r"^([a-z]{2,3})?$", description="ISO 639-1 code; empty lets a multilingual model detect it."
    )
    stt_prompt: str = Field("", max_length=800, description="Names and terms that recognition should expect.")
    stt_address: str = Field(
        "", description="gRPC address of an STT worker that something else runs; empty starts one."
    )

    # --- voice
    tts: Literal["hibari", "chatterbox"] = Field(
        "hibari",
        description="Speech synthesis engine: hibari for a CPU, chatterbox (an extra, see docs/voice.md) for GPUs.",
    )
    tts_voice: str = Field(
        "", description="Voice of a session that names none, or one unknown; empty: the engine's default."
    )
    tts_voices: str = Field(
        "",
        description="chatterbox: folder or `s3://BUCKET/PREFIX` of reference clips (5 to 15 s) and saved voices (.pt).",
    )
    tts_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="chatterbox: where it runs; auto is cuda in half precision, cpu has to be asked for."
    )
    tts_streams: int = Field(
        0,
        ge=0,
        le=1024,
        description="chatterbox: streams at once at most; 0 takes what half of the free GPU memory holds.",
    )
    tts_flow: Literal["windowed", "chunked"] = Field(
        "windowed",
        description="chatterbox: how a hop sees what was before; chunked costs less, but is not what the weights know.",
    )
    tts_flow_graphs: bool = Field(
        False,
        description="chatterbox: capture CUDA graphs of the windowed flow, for batches of up to 4; not yet measured.",
    )
    tts_vocoder_graphs: bool = Field(
        False,
        description="chatterbox: capture CUDA graphs of the vocoder, for batches of up to 4; not yet measured.",
    )
    tts_prefill_graphs: bool = Field(
        False,
        description="chatterbox: capture CUDA graphs of the reading of texts, of up to 127 tokens; not yet measured.",
    )
    tts_compiled: bool = Field(
        False,
        description="chatterbox: fuse the element-wise work of draw, flow and vocoder by torch.compile; not measured.",
    )
    tts_watermark: bool = Field(True, description="chatterbox: mark what is spoken as synthetic (Perth), inaudibly.")
    tts_address: InOrder = Field(
        (),
        description="gRPC addresses of the TTS workers that something else runs, comma-separated; empty starts one.",
    )
    tts_ca_file: Path | None = Field(
        None, description="Certificates (PEM) to trust; with it the gateway speaks TLS to TTS workers on TCP."
    )
    worker_token: LongSecret | None = Field(
        None,
        description="Secret (at least 32 bytes) that a worker on TCP asks for and the gateway shows to TTS workers.",
    )
