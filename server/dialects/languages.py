"""The names of languages as clients write them, as the codes that recognisers know. Pure."""

# ISO 639-1 by other codes of the same languages that clients send, and by Whisper's own.
_SAME = {"cmn": "zh", "fil": "tl", "in": "id", "iw": "he", "jv": "jw", "nb": "no"}
_ANY = frozenset({"auto", "detect", "multi", "und"})


def language_code(name: str) -> str:
    """The code in a tag such as "en", "en-US" or "EN_us"; empty where a client asks for detection."""
    code = name.strip().replace("_", "-").partition("-")[0].lower()
    return "" if code in _ANY else _SAME.get(code, code)
