"""A convolution as one matrix product: channels stay last, no length is special to it, and nothing is rounded to TF32.

cuDNN has a plan for each shape, and in its default setting rounds what float32 convolutions multiply to 10 bits.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Convolution:
    """A `Conv1d` of stride 1 with its weights laid out for it, once."""

    def __init__(self, module: nn.Conv1d) -> None:
        self._width = module.kernel_size[0]
        self._weight = module.weight.transpose(1, 2).flatten(1)
        self._bias = module.bias

    @property
    def reach(self) -> int:
        """Positions beside its own that an output depends on."""
        return self._width - 1

    def __call__(self, x: Tensor) -> Tensor:
        """[rows, time - reach, channels out] of `x` [rows, time, channels]: there is no padding."""
        windows = x.unfold(1, self._width, 1).transpose(2, 3).flatten(2)
        return F.linear(windows, self._weight, self._bias)
