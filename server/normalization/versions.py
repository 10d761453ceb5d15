"""Version numbers, whose parts are whole numbers: "Python 3.11" is "three point eleven", not "three point one one"."""

import re

from server.normalization.words import cardinal, digits

_NAMES = (
    r"[Vv]ersions?|[Vv]er\.|[Rr]eleases?|[Bb]uild|[Ff]irmware|Python|iOS|iPadOS|macOS|watchOS|Android|Windows|Ubuntu"
    r"|Debian|Fedora|Java|Node(?:\.js)?|PHP|Ruby|Rails|Go|Rust|Swift|Kotlin|Perl|Chrome|Firefox|Safari|Postgres"
    r"|PostgreSQL|MySQL|Redis|Kafka|[Kk]ernel|Linux|CUDA|PyTorch|TensorFlow|NumPy|React|Angular|Vue|Django|Flask|FastAPI"
    r"|Kubernetes|Docker|Terraform|Git|Spring|Unity|Blender"
)
_PARTS = r"(?P<parts>\d{1,6}(?:\.\d{1,6}){1,4})(?!\d|\.\d)"
_NAMED = re.compile(rf"(?P<name>\b(?:{_NAMES})\s)[vV]?{_PARTS}")
_SHORT = re.compile(r"\b(?:v|V(?=\d+\.\d))(?:\.\s?)?(?P<parts>\d{1,6}(?:\.\d{1,6}){0,4})(?![\d-]|\.\d)")
_DOTTED = re.compile(r"(?<![\w.,])(?P<parts>\d{1,6}(?:\.\d{1,6}){2,5})(?!\d|\.\d)")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,4}")


def named_versions(text: str) -> str:
    """The numbers after "version", "v" and the names of programs."""
    text = _NAMED.sub(lambda match: match["name"] + _aloud(match["parts"]), text)
    return _SHORT.sub(lambda match: f"version {_aloud(match['parts'])}", text)


def dotted_numbers(text: str) -> str:
    """Other numbers with two or more points, of a version or a section; or of thousands, as in "1.234.567"."""
    return _DOTTED.sub(_dotted, text) if "." in text else text


def _dotted(match: re.Match[str]) -> str:
    parts = match["parts"]
    return cardinal(int(parts.replace(".", ""))) if _THOUSANDS.fullmatch(parts) else _aloud(parts)


def _aloud(parts: str) -> str:
    return " point ".join(
        digits(part) if len(part) > 3 or (len(part) > 1 and part[0] == "0") else cardinal(int(part))
        for part in parts.split(".")
    )
