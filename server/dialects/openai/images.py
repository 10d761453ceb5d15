"""Images in a client's message, from the data URI that holds one. Pure; nothing is fetched."""

import re
from binascii import Error, a2b_base64
from typing import get_args

from server.conversation.errors import ConversationError
from server.llm.interface import Image, ImageDetail, ImageFormat

_DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
_BEGINNINGS: dict[ImageFormat, re.Pattern[bytes]] = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "gif": re.compile(rb"GIF8[79]a"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
_TAKES = f"takes a data URI (data:image/png;base64,...) of {', '.join(get_args(ImageFormat))}"


class UnsupportedImage(ConversationError):
    """An image that can't be shown to a model. A wrong one would fail every later answer, too."""


def read_image(url: str | None, detail: ImageDetail | None, param: str) -> Image:
    """The image in `url`; what its bytes are counts, not what they are called. Raises `UnsupportedImage`."""
    found = _DATA_URI.match(url or "")
    if url is None or found is None:
        raise UnsupportedImage(f"input_image: got no data URI in image_url; {_TAKES}", param)
    try:
        data = a2b_base64(url[found.end() :], strict_mode=True)
    except (Error, ValueError) as error:
        raise UnsupportedImage(f"input_image: image_url holds no base64 ({error}); {_TAKES}", param) from None
    for format, beginning in _BEGINNINGS.items():
        if beginning.match(data):
            return Image(format, data, detail or "auto")
    raise UnsupportedImage(f"input_image: image_url holds another format; {_TAKES}", param)
