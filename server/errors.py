"""The root of every error that this program raises on purpose.

Each part defines its own errors where it lives; what they share is that their message tells a person what was wrong
and what would be accepted, and that it holds neither secrets nor what a caller said.
"""

from collections.abc import Iterator
from contextlib import contextmanager


class VoicefleetError(Exception):
    """Something went wrong in a way that was foreseen; `str(error)` is fit to be shown."""


@contextmanager
def first_of(*kinds: type[Exception]) -> Iterator[None]:
    """Raise the first of a task group's errors in the group's place, if all of them are of `kinds`.

    `except*` can't: up to Python 3.11.3 what is raised there is put into a group again.
    """
    try:
        yield
    except ExceptionGroup as group:
        if group.split(kinds)[1]:
            raise
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None
