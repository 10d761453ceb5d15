"""Compiling before there are callers, or a model: what a worker looks for in Inductor's cache when it starts.

What is compiled depends on shapes, dtypes, the device and the versions of torch and Triton, and on no weight's value.
So an engine that was never trained, warmed up as a worker's is, leaves all that a worker on such a device will need.
"""

from server.settings.settings import Settings
from server.workers.engine import EngineFailed
from server.workers.engines.chatterbox.calibration import calibrated
from server.workers.engines.chatterbox.checkpoint import FULL, Precision, Shape, random_checkpoint, random_voice
from server.workers.engines.chatterbox.compiling import Inductor
from server.workers.engines.chatterbox.loading import chosen_device, core_for

_ROWS = 16
_VOICE_SECONDS = 10.0


def compile_ahead(settings: Settings, shape: Shape = FULL) -> None:
    """Fill TORCHINDUCTOR_CACHE_DIR for the flow and the device of `settings`. Raises `EngineFailed`."""
    device = chosen_device(settings.tts_device)
    checkpoint = random_checkpoint(shape, device, Precision.best(device))
    few = settings.model_copy(update={"tts_streams": settings.tts_streams or _ROWS})
    compiler = Inductor()
    calibrated(core_for(few, checkpoint, compiler), random_voice(_VOICE_SECONDS))
    if compiler.failed:
        raise EngineFailed(f"torch.compile can't compile {', '.join(sorted(compiler.failed))} on {device}")
