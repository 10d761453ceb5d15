"""What GPUs are taken to reach where none is at hand: less than their data sheets say, and measured by nobody yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Gpu = Literal["A10G", "H200"]


@dataclass(frozen=True, slots=True)
class Device:
    """What is reached of the data sheet: bytes and FLOP (half precision; float32 through cuDNN) a second; the seconds
    that it takes to launch a kernel, and those that even a small one occupies the device for."""

    bandwidth: float
    flops: float
    float32_flops: float
    launch: float = 5e-6
    least_kernel: float = 2e-6


DEVICES: Mapping[Gpu, Device] = {
    "A10G": Device(bandwidth=480e9, flops=40e12, float32_flops=14e12),
    "H200": Device(bandwidth=3.6e12, flops=300e12, float32_flops=80e12),
}
