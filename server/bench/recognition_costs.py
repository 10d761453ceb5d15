"""What recognising a batch takes on a GPU, reckoned: Whisper's operations, over what a device is taken to reach.

Pure, and no measurement: `tests.bench.stt_throughput` measures, and what it finds outranks this.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from server.audio.log_mel import FRAMES_PER_SECOND
from server.bench.devices import Device

_MELS = 80
_VOCABULARY = 51_865
_HALF = 2  # bytes of a float16
_POSITIONS_PER_SECOND = FRAMES_PER_SECOND // 2  # that the encoder sees

# Kernels, as CTranslate2 starts them one by one: norms, products, biases, transpositions, softmax.
_ENCODER_KERNELS, _ENCODER_LAYER_KERNELS = 12, 18
_DECODER_KERNELS, _DECODER_LAYER_KERNELS = 14, 30
_WAIT_SECONDS = 20e-6  # after each token: the host sees which texts are over
_ACTIVATION_PASSES = 30  # over [positions, width] in a layer, there and back
_ATTENTION_PASSES = 4  # over [heads, positions, positions]: CTranslate2 writes it out
_FEATURE_SECONDS_PER_SECOND = 0.4e-3  # of the host, for each second of a window (`server.audio.log_mel`, one core)


@dataclass(frozen=True, slots=True)
class Whisper:
    """A model: its encoder and its decoder have as many layers and are as wide."""

    width: int
    layers: int
    heads: int


WHISPER: Mapping[str, Whisper] = {
    "tiny.en": Whisper(384, 4, 6),
    "base": Whisper(512, 6, 8),
    "small": Whisper(768, 12, 12),
}
"""By its name in the catalogue (openai/whisper `model.py`)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds. The host launches while the device works; features it computes before."""

    device: float
    host: float
    features: float

    @property
    def seconds(self) -> float:
        """From the device's beginning to the texts."""
        return max(self.device, self.host)


def cost(model: Whisper, device: Device, batch: int, window: float, tokens: int, beam: int = 2) -> Cost:
    """A batch of so many windows of so many seconds, decoded until the longest text has `tokens`."""
    width, layers = model.width, model.layers
    positions = window * _POSITIONS_PER_SECOND

    def busy(flop: float, moved: float, kernels: int) -> float:
        return max(flop / device.flops, moved / device.bandwidth, kernels * device.least_kernel)

    convolutions = 2 * 3 * width * (2 * _MELS + width) * positions
    encoder_layer = 24 * width**2 * positions + 4 * width * positions**2
    kept = model.heads * positions**2 * _ATTENTION_PASSES + width * positions * _ACTIVATION_PASSES
    encoder_kernels = _ENCODER_KERNELS + layers * _ENCODER_LAYER_KERNELS
    encoder = busy(
        batch * (convolutions + layers * encoder_layer),
        _HALF * layers * (12 * width**2 + batch * kept),
        encoder_kernels,
    )
    # Once for each layer of the decoder: what it attends to of the encoder's positions.
    across = busy(batch * layers * 4 * width**2 * positions, _HALF * layers * 2 * batch * width * positions, layers * 4)
    read_by_all = layers * 14 * width**2 + _VOCABULARY * width
    read_by_each = layers * 2 * width * (positions + tokens / 2) + 4 * _VOCABULARY
    decoder_kernels = _DECODER_KERNELS + layers * _DECODER_LAYER_KERNELS
    rows = batch * beam
    step = busy(2 * rows * (read_by_all + read_by_each), _HALF * (read_by_all + rows * read_by_each), decoder_kernels)
    launched = encoder_kernels + layers * 4 + tokens * decoder_kernels
    return Cost(
        device=encoder + across + tokens * step,
        host=launched * device.launch + tokens * _WAIT_SECONDS,
        features=batch * window * _FEATURE_SECONDS_PER_SECOND,
    )


def memory(model: Whisper, batch: int, window: float) -> int:
    """Bytes: weights, what the encoder's attention takes of a batch, and keys and values for the decoder."""
    width, layers = model.width, model.layers
    positions = round(window * _POSITIONS_PER_SECOND)
    weights = layers * (12 + 16) * width**2 + _VOCABULARY * width
    encoding = batch * (2 * model.heads * positions**2 + 8 * width * positions)
    attended = batch * layers * 2 * width * positions
    return _HALF * (weights + encoding + attended)
