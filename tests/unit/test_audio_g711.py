"""G.711 against the standard library's `audioop`, in every input there is."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest

from server.audio import Samples, g711

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore", DeprecationWarning
    )  # it goes in Python 3.13, and so will 3.13 need another reference
    import audioop

EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int16)
EVERY_CODE = bytes(range(256))


@pytest.mark.parametrize(
    ("encode", "reference"),
    [(g711.encode_ulaw, audioop.lin2ulaw), (g711.encode_alaw, audioop.lin2alaw)],
    ids=["ulaw", "alaw"],
)
def test_every_sample_is_encoded_as_audioop_does(
    encode: Callable[[Samples], bytes], reference: Callable[[bytes, int], bytes]
) -> None:
    assert encode(EVERY_SAMPLE) == reference(EVERY_SAMPLE.tobytes(), 2)


@pytest.mark.parametrize(
    ("decode", "reference"),
    [(g711.decode_ulaw, audioop.ulaw2lin), (g711.decode_alaw, audioop.alaw2lin)],
    ids=["ulaw", "alaw"],
)
def test_every_code_is_decoded_as_audioop_does(
    decode: Callable[[bytes], Samples], reference: Callable[[bytes, int], bytes]
) -> None:
    assert decode(EVERY_CODE).tobytes() == reference(EVERY_CODE, 2)
