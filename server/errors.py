"""The root of every error that this program raises on purpose.

Each part defines its own errors where it lives; what they share is that their message tells a person what was wrong
and what would be accepted, and that it holds neither secrets nor what a caller said.
"""


class VoicefleetError(Exception):
    """Something went wrong in a way that was foreseen; `str(error)` is fit to be shown."""
