"""Times of day: "9:05", "14:30", "5:00 pm", "9 a.m.", "9.30am", ranges of them, and "1:30:05"."""

import re

from server.normalization.marks import APOSTROPHE, DASH, MINUS
from server.normalization.words import cardinal, two_digits

_START = r"(?<![\w.,:/$-])"
_HALF = r"(?P<half>[AaPp])\.?\s?[Mm](?![A-Za-z0-9])\.?"
_ANY_HALF = r"[AaPp]\.?[Mm]\b\.?"
_CLOCK = re.compile(
    rf"{_START}(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![\d:]|\.\d)(?:\s?{_HALF})?"
)
_POINTED = re.compile(rf"{_START}(?P<hour>0?\d|1[0-2])\.(?P<minute>[0-5]\d)\s?{_HALF}")
_HOUR = re.compile(rf"{_START}(?P<hour>0?\d|1[0-2])\s?{_HALF}")
_RANGE = re.compile(
    rf"{_START}(\d{{1,2}}(?:[:.][0-5]\d(?:\s?{_ANY_HALF})?|\s?{_ANY_HALF}|(?={DASH})))\s?{DASH}\s?"
    rf"(?=\d{{1,2}}(?::[0-5]\d(?![\d:])|(?:\.[0-5]\d)?\s?{_ANY_HALF}))"
)
_RANGE_TO_HOUR = re.compile(rf"{_START}(\d{{1,2}}:[0-5]\d){DASH}(?=\d{{1,2}}(?![\d:%]))")
_WITHOUT_OCLOCK = re.compile(rf"\sto\s\d|\so{APOSTROPHE}clock")
_ZONE = re.compile(rf"\b(UTC|GMT)\s?(\+|{MINUS})\s?(?=\d)")


def times(text: str) -> str:
    """ "14:30" becomes "fourteen thirty", "9:05 AM" becomes "nine oh five a.m."."""
    if ":" in text or "m" in text or "M" in text:
        text = _RANGE_TO_HOUR.sub(r"\1 to ", _RANGE.sub(r"\1 to ", text))
        text = _HOUR.sub(_aloud, _POINTED.sub(_aloud, _CLOCK.sub(_with_seconds, text)))
    return _ZONE.sub(lambda match: f"{match[1]} {'plus' if match[2] == '+' else 'minus'} ", text)


def _with_seconds(match: re.Match[str]) -> str:
    """Without an hour it is how long something takes."""
    if match["second"] is None:
        return _aloud(match)
    hour, minute, second = int(match["hour"]), int(match["minute"]), _count(int(match["second"]), "second")
    if hour == 0:
        return f"{_count(minute, 'minute')} and {second}" if minute else second
    half = f" {match['half'].lower()}.m." if match["half"] else ""
    return f"{cardinal(hour)}{f' {two_digits(minute)}' if minute else ''} and {second}{half}"


def _aloud(match: re.Match[str]) -> str:
    hour, minute = int(match["hour"]), int(match.groupdict().get("minute") or 0)
    half = f" {match['half'].lower()}.m." if match["half"] else ""
    if not minute and not half:
        return _full_hour(hour, match.string, match.end())
    return f"{cardinal(hour)}{f' {two_digits(minute)}' if minute else ''}{half}"


def _full_hour(hour: int, text: str, end: int) -> str:
    if hour == 0:
        return "midnight"
    if hour > 12:
        return f"{cardinal(hour)} hundred"
    return cardinal(hour) if _WITHOUT_OCLOCK.match(text, end) else f"{cardinal(hour)} o'clock"


def _count(number: int, unit: str) -> str:
    return f"{cardinal(number)} {unit}{'' if number == 1 else 's'}"
