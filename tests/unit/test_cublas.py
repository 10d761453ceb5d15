"""CTranslate2 opens cuBLAS by its name alone; once loaded from NVIDIA's wheel, it is found. Without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import ctranslate2

_NAME = b"libcublas.so.12"
_OPEN = f"import ctypes; ctypes.CDLL({_NAME.decode()!r})"
_LOAD = "from server.workers.engines.cublas import load_cublas; load_cublas()"


def _wheel(site_packages: Path) -> None:
    """`nvidia-cublas-cu12` as it is installed, with a library of another kind that bears the name."""
    folder = site_packages / "nvidia" / "cublas" / "lib"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (other,) = Path(ctranslate2.__file__).parents[1].glob("ctranslate2.libs/libgomp-*")
    name = other.name.encode()
    content = other.read_bytes()
    assert content.count(name) == 1
    (folder / _NAME.decode()).write_bytes(content.replace(name, _NAME.ljust(len(name), b"\0")))


def _runs(code: str, site_packages: Path) -> bool:
    """In a process of its own, as a library that is loaded stays."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site_packages), *sys.path])}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_the_library_of_the_wheel_is_found_by_name_once_it_was_loaded(tmp_path: Path) -> None:
    _wheel(tmp_path)
    assert not _runs(_OPEN, tmp_path)
    assert _runs(f"{_LOAD}; {_OPEN}", tmp_path)


def test_where_there_is_no_wheel_or_another_version_of_it_nothing_is_done(tmp_path: Path) -> None:
    assert _runs(_LOAD, tmp_path)
    (tmp_path / "nvidia" / "cublas" / "lib").mkdir(parents=True)
    assert _runs(_LOAD, tmp_path)
    (tmp_path / "nvidia" / "cublas" / "lib" / "libcublas.so.13").touch()
    assert _runs(_LOAD, tmp_path)
