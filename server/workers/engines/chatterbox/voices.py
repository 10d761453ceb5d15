"""The voices of the engine: reference clips and saved conditionals from a folder or S3, and the model's own.

`NAME.wav`, `.flac` or `.ogg` and `NAME.pt` are the voice NAME. Everything here blocks; it belongs in a thread. A file
that makes no voice is logged and keeps no other from loading.
"""

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from server.errors import VoicefleetError
from server.workers.engine import UnknownVoice, Voice
from server.workers.engines.chatterbox.clip_checks import BadVoiceClip, read_clip
from server.workers.engines.chatterbox.conditionals import BadConditionals, Conditionals
from server.workers.engines.chatterbox.voice_files import VoiceFiles, VoicesUnreachable

BUILT_IN = "default"
"""The name of the voice that comes with the model."""

_LANGUAGE = "en"  # Turbo speaks no other
_SUFFIXES = (".pt", ".wav", ".flac", ".ogg")  # of several files for one name the first of these counts
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_CACHE_FORMAT = 1  # changes when the same clip and weights would give other conditionals
_LOOK_AGAIN_SECONDS = 5.0  # where somebody asks for a voice that is not known
_LOOK_ANYWAY_SECONDS = 60.0

log = structlog.get_logger(__name__)


class UnusableVoice(UnknownVoice):
    """There is a file for the voice, and it was refused."""

    def __init__(self, voice: str, reason: str) -> None:
        VoicefleetError.__init__(self, f"voice {voice!r} can't be used: {reason}")


class Encoder(Protocol):
    """What makes a voice of a clip: `voice_encoding.VoiceEncoder`."""

    def encode(self, samples: NDArray[np.float32], rate: int) -> Conditionals:
        """The voice that speaks in `samples`, float32 mono `[n]` at `rate` Hz."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    version: str
    description: str
    voice: Conditionals | VoicefleetError  # the error says why it can't be used


class VoiceLibrary:
    """Every voice that can be asked for. Safe to use from several threads."""

    def __init__(
        self,
        files: VoiceFiles | None,
        cache: Path,
        encoder: Callable[[], Encoder],
        fingerprint: str,
        *,
        built_in: Path | None = None,
        default: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`encoder` loads what makes voices of clips; it is called when there is a new clip and let go afterwards.

        `fingerprint` stands for its weights: what is in the `cache` folder under another is not used. `built_in` is the
        model's `conds.pt`, if it has one. `default` names the voice that speaks when none is named; empty: the built-in
        one, else the first by name. `clock` gives seconds. Raises `BadConditionals` for the built-in voice.
        """
        self._files = files
        self._cache = cache
        self._encoder = encoder
        self._fingerprint = fingerprint
        self._default = default
        self._clock = clock
        self._looked = -_LOOK_AGAIN_SECONDS
        self._lock = threading.Lock()
        self._built_in: dict[str, _Entry] = {}
        if built_in is not None and built_in.exists():
            self._built_in[BUILT_IN] = _Entry("", "the model's own voice", Conditionals.load(built_in))
        self._entries = dict(self._built_in)

    def refresh(self) -> None:
        """Look at the files and load what is new or has changed. Raises `VoicesUnreachable`; what was loaded stays."""
        with self._lock:
            self._refresh()

    def list(self) -> Sequence[Voice]:
        """The voices that can be used, by name."""
        entries = self._entries
        default = self._default_name()
        return [
            Voice(name, _LANGUAGE, entries[name].description, is_default=name == default) for name in _usable(entries)
        ]

    def get(self, name: str) -> Conditionals:
        """The voice `name`, or the default if it is empty; an unknown name is looked for anew every 5 s at most.

        Raises `UnknownVoice`, or `UnusableVoice` with the reason.
        """
        with contextlib.suppress(UnknownVoice):
            return self._found(name)
        self.look_again(_LOOK_AGAIN_SECONDS)
        return self._found(name)

    def look_again(self, after: float = _LOOK_ANYWAY_SECONDS) -> None:
        """`refresh`, if the last look is so many seconds ago; a place that can't be read is logged."""
        with self._lock:
            if self._clock() - self._looked >= after:
                try:
                    self._refresh()
                except VoicesUnreachable as error:
                    log.warning("voices_unreachable", reason=str(error))

    def _found(self, name: str) -> Conditionals:
        name = name or self._default_name()
        entry = self._entries.get(name)
        if entry is None:
            raise UnknownVoice(name, _usable(self._entries))
        if isinstance(entry.voice, Conditionals):
            return entry.voice
        raise UnusableVoice(name, str(entry.voice))

    def _default_name(self) -> str:
        names = _usable(self._entries)
        return self._default or (BUILT_IN if BUILT_IN in names else next(iter(names), ""))

    def _refresh(self) -> None:
        self._looked = self._clock()
        versions = self._files.versions() if self._files is not None else {}
        encoder: Encoder | None = None

        def encode(samples: NDArray[np.float32], rate: int) -> Conditionals:
            nonlocal encoder
            encoder = encoder or self._encoder()
            return encoder.encode(samples, rate)

        entries = dict(self._built_in)
        for file in sorted(versions, key=_precedence):
            name, suffix = PurePath(file).stem, PurePath(file).suffix
            if suffix not in _SUFFIXES:
                continue
            if name in entries and entries[name] is not self._built_in.get(name):
                continue
            known = self._entries.get(name)
            version = f"{file} {versions[file]}"
            if known and known.version == version:
                entries[name] = known
            elif _NAME.fullmatch(name):
                entries[name] = self._load(file, version, encode)
            else:
                entries[name] = _refused(file, version, BadVoiceName(file))
        self._entries = entries

    def _load(self, file: str, version: str, encode: Callable[[NDArray[np.float32], int], Conditionals]) -> _Entry:
        assert self._files is not None
        try:
            content = self._files.read(file)
            if file.endswith(".pt"):
                return _Entry(version, "saved conditionals", Conditionals.from_bytes(content, file))
            samples, rate = read_clip(content, file)
            kept = self._cache / f"{_CACHE_FORMAT}-{self._fingerprint}-{sha256(content).hexdigest()}.pt"
            voice = _cached(kept) or _keep(encode(samples, rate), kept)
            return _Entry(version, f"from a clip of {len(samples) / rate:.1f} s", voice)
        except VoicesUnreachable as error:  # it may be there the next time
            log.warning("voice_unreachable", file=file, reason=str(error))
            return _Entry("", "", error)
        except (BadConditionals, BadVoiceClip) as error:
            return _refused(file, version, error)


class BadVoiceName(VoicefleetError):
    """The file's name is none that a voice can have."""

    def __init__(self, file: str) -> None:
        super().__init__(f"{file}: takes a name of small letters, digits, '-' and '_', the first a letter or digit")


def _refused(file: str, version: str, reason: VoicefleetError) -> _Entry:
    log.warning("voice_refused", file=file, reason=str(reason))
    return _Entry(version, "", reason)


def _usable(entries: dict[str, _Entry]) -> list[str]:
    return sorted(name for name, entry in entries.items() if isinstance(entry.voice, Conditionals))


def _precedence(file: str) -> tuple[str, int]:
    path = PurePath(file)
    return path.stem, _SUFFIXES.index(path.suffix) if path.suffix in _SUFFIXES else len(_SUFFIXES)


def _cached(path: Path) -> Conditionals | None:
    try:
        return Conditionals.load(path)
    except FileNotFoundError:
        return None
    except (BadConditionals, OSError) as error:
        log.warning("voice_cache_damaged", file=path.name, reason=str(error))
        return None


def _keep(voice: Conditionals, path: Path) -> Conditionals:
    """`voice`, now also in the cache; whole or not at all, and without it if the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            voice.save(Path(scratch, path.name))
            os.replace(Path(scratch, path.name), path)
    except OSError as error:
        log.warning("voice_not_cached", file=path.name, reason=str(error))
    return voice
