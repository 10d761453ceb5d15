"""Lets CTranslate2 find the cuBLAS of NVIDIA's wheels: it looks for it by name, and they lie where no linker looks.

torch finds it by itself; a process that loads torch needs nothing of this.
"""

import ctypes
from importlib.util import find_spec
from pathlib import Path

_LIBRARY = "libcublas.so.12"  # which CTranslate2 opens with its first computation on CUDA


def load_cublas() -> None:
    """Load it from the wheel, if that is installed: whoever opens it by name from then on gets this one."""
    package = find_spec("nvidia.cublas") if find_spec("nvidia") else None
    for folder in (package and package.submodule_search_locations) or ():
        if (library := Path(folder, "lib", _LIBRARY)).exists():
            ctypes.CDLL(str(library))
