"""What can go wrong with models, each with what to do about it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.filesize import decimal

from server.errors import VoicefleetError


class ModelError(VoicefleetError):
    """A model can't be had or must not be loaded."""


class UnknownModel(ModelError):
    """The catalogue has no model of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown model {name!r}; takes one of {', '.join(known)}")


class ModelMissing(ModelError):
    """Files of the model are not in the store."""

    def __init__(self, name: str, files: Sequence[str]) -> None:
        super().__init__(f"model {name!r} lacks {', '.join(files)}; `voicefleet models pull {name}` fetches it")


class ModelCorrupt(ModelError):
    """A file in the store is not the one that the catalogue means."""

    def __init__(self, name: str, file: str, got: str, expected: str) -> None:
        super().__init__(
            f"model {name!r} is corrupt: {file} has {got}, expected {expected}; "
            f"`voicefleet models pull {name}` fetches it again"
        )


class ModelUnavailable(ModelError):
    """No source could give the model; the message has a line for each."""

    def __init__(self, name: str, failures: Sequence[str]) -> None:
        lines = "".join(f"\n  {failure}" for failure in failures)
        super().__init__(f"model {name!r} can't be fetched; every source failed:{lines}")


class SeveralFailed(ModelError):
    """Several models can't be had, each for its own reason."""

    def __init__(self, errors: Iterable[ModelError]) -> None:
        super().__init__("\n".join(map(str, errors)))


class StoreUnusable(ModelError):
    """The store's folder can't be written: a full disk, missing permissions."""

    def __init__(self, directory: Path, error: OSError) -> None:
        where = f" ({error.filename})" if error.filename else ""
        super().__init__(
            f"can't write models to {directory}: {error.strerror}{where}; VOICE_MODEL_DIR names another folder"
        )


class DiskTooFull(ModelError):
    """What is still to be fetched would not fit where models are kept."""

    def __init__(self, directory: Path, needed: int, free: int) -> None:
        super().__init__(
            f"not enough room for models in {directory}: {decimal(free)} are free, and to fetch what is missing takes "
            f"{decimal(needed)}; make room there, or name another folder with VOICE_MODEL_DIR"
        )


class SourceFailed(ModelError):
    """One source can't give a file now; the next one is tried."""


class WrongContent(SourceFailed):
    """A source gave other bytes than the catalogue promises."""

    def __init__(self, file: str, got: str, expected: str) -> None:
        super().__init__(f"{file} has {got}, expected {expected}")
