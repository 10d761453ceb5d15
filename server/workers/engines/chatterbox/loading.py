"""The engine as the settings want it: weights from a folder, device, rows, voices."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
import torch

from server.errors import VoicefleetError
from server.settings.settings import Settings
from server.workers.engine import EngineFailed
from server.workers.engines.chatterbox.checkpoint import Checkpoint, Precision, load_checkpoint
from server.workers.engines.chatterbox.compiling import EAGER, Compiler, Inductor
from server.workers.engines.chatterbox.core import Core
from server.workers.engines.chatterbox.engine import ChatterboxEngine
from server.workers.engines.chatterbox.flow import WindowedFlow
from server.workers.engines.chatterbox.flow_chunked import ChunkedFlow
from server.workers.engines.chatterbox.graphs import Capture, graph_bytes
from server.workers.engines.chatterbox.t3 import T3Decoder, row_bytes
from server.workers.engines.chatterbox.vocoder import Vocoder
from server.workers.engines.chatterbox.voice_encoding import VoiceEncoder, weights_fingerprint
from server.workers.engines.chatterbox.voice_files import voice_files
from server.workers.engines.chatterbox.voices import VoiceLibrary
from server.workers.engines.chatterbox.watermark import Watermarker

POSITIONS = 1280
"""Of a row: 376 of the voice, 100 or so of a piece's text, and 30 s of speech, longer than a piece ever takes."""

_MOST_ROWS = 256
_ROWS_ON_CPU = 4
_SHARE_OF_MEMORY = 0.5  # of what is free for rows; the flow's and the vocoder's batches need the other half

FLOWS: Mapping[str, type[WindowedFlow | ChunkedFlow]] = {"windowed": WindowedFlow, "chunked": ChunkedFlow}

log = structlog.get_logger(__name__)


class NoVoice(VoicefleetError):
    """There is nothing to speak with."""

    def __init__(self, place: str) -> None:
        where = f"{place} has none that can be used" if place else "there is no VOICE_TTS_VOICES"
        super().__init__(f"Chatterbox has no voice: the model brings none and {where}; takes a clip of 5 to 15 s")


def chatterbox_engine(settings: Settings, folder: Path) -> ChatterboxEngine:
    """The engine with the checkpoint in `folder`, not yet warm. Raises `VoicefleetError`."""
    device = chosen_device(settings.tts_device)
    if settings.tts_device == "auto" and device.type == "cpu":
        raise EngineFailed(
            "VOICE_TTS_DEVICE: got 'auto', and torch finds no CUDA device; on a cpu, which 'cpu' asks for, the model "
            "takes 6 s for a second of speech: the voice for it is VOICE_TTS=hibari"
        )
    voices = VoiceLibrary(
        voice_files(settings.tts_voices) if settings.tts_voices else None,
        settings.model_dir.expanduser() / "voices",
        lambda: VoiceEncoder.from_checkpoint(folder, device),
        weights_fingerprint(folder),
        built_in=folder / "conds.pt",
        default=settings.tts_voice,
    )
    voices.refresh()
    if not voices.list():
        raise NoVoice(settings.tts_voices)
    voices.get("")  # a default that is not there is found out before the weights are loaded
    checkpoint = load_checkpoint(folder, device, Precision.best(device))
    core = core_for(settings, checkpoint, Inductor() if settings.tts_compiled else EAGER)
    log.info("engine_loaded", device=str(device), rows=core.decoder.rows, voices=len(voices.list()))
    return ChatterboxEngine(core, checkpoint.tokenize, voices)


def core_for(settings: Settings, checkpoint: Checkpoint, compiler: Compiler) -> Core:
    """The engine's core with these weights, on their device. Raises `WatermarkUnavailable`."""
    device = checkpoint.t3.device
    flow = FLOWS[settings.tts_flow]
    graphs = settings.tts_flow_graphs, settings.tts_vocoder_graphs, settings.tts_prefill_graphs
    return Core(
        checkpoint,
        flow(checkpoint.flow, compiler),
        settings.tts_streams or rows_for(checkpoint, captures(checkpoint, flow, *graphs)),
        POSITIONS,
        Watermarker(device) if settings.tts_watermark else None,
        flow_graphs=settings.tts_flow_graphs,
        vocoder_graphs=settings.tts_vocoder_graphs,
        prefill_graphs=settings.tts_prefill_graphs,
        compiler=compiler,
    )


def chosen_device(wanted: str) -> torch.device:
    """The device of the name, "auto" being CUDA where there is one. Raises `EngineFailed`."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EngineFailed("VOICE_TTS_DEVICE: got 'cuda', and torch finds no such device here; takes 'auto' or 'cpu'")
    return torch.device(wanted)


def captures(
    checkpoint: Checkpoint,
    flow: type[WindowedFlow | ChunkedFlow],
    flow_graphs: bool = False,
    vocoder_graphs: bool = False,
    prefill_graphs: bool = False,
) -> list[Capture]:
    """What captures the graphs that an engine with these will have; the decoder's steps are always among them."""
    found = T3Decoder.captures(checkpoint.t3, _MOST_ROWS, prefill_graphs)
    if flow_graphs:
        found.append(flow(checkpoint.flow).capture)
    if vocoder_graphs:
        found.append(Vocoder(checkpoint.vocoder).capture)
    return found


def rows_for(checkpoint: Checkpoint, captured: Sequence[Capture]) -> int:
    """As many rows as the device's memory is good for, beside the graphs of what will be `captured`.

    What captures them is of no use afterwards.
    """
    device = checkpoint.t3.device
    if device.type != "cuda":
        return _ROWS_ON_CPU
    reserved = graph_bytes(captured, device)
    torch.cuda.empty_cache()  # of what was found out by being done: it counts once
    free, _ = torch.cuda.mem_get_info(device)
    share = (free - reserved) * _SHARE_OF_MEMORY
    return max(1, min(_MOST_ROWS, int(share / row_bytes(checkpoint.t3, POSITIONS))))
