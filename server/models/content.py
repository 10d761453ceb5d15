"""What a file on the disk holds, as against what the catalogue promises."""

import hashlib
import os
from pathlib import Path

from server.models.catalogue import ModelFile


def expected(file: ModelFile) -> str:
    """What a right file holds, for people to read."""
    return f"SHA-256 {file.sha256}"


def content(path: Path, file: ModelFile) -> str:
    """What `path` holds, in the words of `expected`; "" for nothing. A wrong size tells without hashing."""
    try:
        with path.open("rb") as opened:
            if (size := os.fstat(opened.fileno()).st_size) != file.size:
                return f"{size} bytes, not {file.size}"
            return f"SHA-256 {hashlib.file_digest(opened, 'sha256').hexdigest()}"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"no readable content ({error.strerror})"
