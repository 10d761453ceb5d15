"""Measurements: "5 km", "20°C", "-5 °F", "250ml", "100 km/h", "6 ft 2 in", "1.5 GB", "25%", "100k"."""

import re
from collections.abc import Iterable

from server.normalization.context import before, is_attribute, is_counted
from server.normalization.marks import APOSTROPHE, DASH
from server.normalization.quantities import QUANTITY, is_one, of_one, quantity
from server.normalization.unit_names import LENGTHS, PERIODS, RATES, SAME_IN_PLURAL, SINGULAR, plural


def _any(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_QUANTITY = rf"(?P<quantity>{QUANTITY})"
_DIVISORS = PERIODS | SINGULAR
_POWERS = {"²": "square", "2": "square", "³": "cubic", "3": "cubic", "sq": "square", "cu": "cubic"}
_AREA = rf"(?P<before>sq|cu)\.?\s(?P<side>{_any(LENGTHS)})|(?P<length>{_any(LENGTHS)})\^?(?P<power>[²³23])"
_MEASURE = re.compile(
    rf"{_QUANTITY}(?P<gap>[ \u00a0\u202f]?|-)"
    rf"(?:{_AREA}|(?P<unit>{_any(SINGULAR)})|(?P<rate>{_any(RATES)})|(?P<fixed>{_any(SAME_IN_PLURAL)}))"
    rf"(?:/(?P<per>{_any(_DIVISORS)})(?P<per_power>[²³]?))?(?![\w²³/&]|{APOSTROPHE}|[.-]\d)(?:\.(?=\s[a-z]))?"
)
_BEFORE_PLURAL = re.compile(r"\b(?:two|three|four|double|triple|of|by) $")  # as in "two 7s"
_DEGREES = re.compile(rf"{_QUANTITY}\s?(?:[°º]\s?(?P<scale>[CFNSEW](?!\w))?|(?P<sign>[℃℉]))")
_DEGREE_NAMES = {
    "C": " Celsius",
    "F": " Fahrenheit",
    "℃": " Celsius",
    "℉": " Fahrenheit",
    "N": " north",
    "S": " south",
    "E": " east",
    "W": " west",
}
_TO_AFTER_SIGN = re.compile(rf"(\d\s?(?:%|°[CF]?))\s?{DASH}\s?(?=\d)")
_HEIGHT = re.compile(rf"(?<![\w.])(\d{{1,2}})(?:{APOSTROPHE}|\u2032)(\d{{1,2}})(?:\"|''|\u201d|\u2033)?(?![\w'])")
_FEET_AND_INCHES = re.compile(r"(?<![\w.])(\d{1,3})\s?(?:ft\.?|feet)\s(\d{1,2}(?:\.\d)?)\s?in(?:ch(?:es)?)?\b")
_FEET = re.compile(
    r"(?<![\w.])(\d{1,3})['\u2032](?:(?=\s?(?:by|tall|long|wide|high|deep)\b)|(?<=by \d')|(?<=by \d\d')(?!\w))"
)
_INCHES = re.compile(rf"{_QUANTITY}(?:[\"\u2033]|[ -]?in(?=\.?\s(?:x|by|tall|long|wide|high|deep|thick)\b)\.?)")
_INCHES_LAST = re.compile(r"(?<=\d\sby\s)(\d{1,4}(?:\.\d{1,3})?)\s?in\b\.?")
_HOURS_AND_MINUTES = re.compile(r"(?<![\w.])(\d{1,3})\s?h\s?([0-5]?\d)(?:\s?m(?:in)?)?(?!\w)")
_SCALED = re.compile(
    r"(?<![\w.,$-])(?!3M\b)(?P<number>\d{1,4}(?:\.\d{1,3})?)(?P<scale>k|M|B|bn|mn)(?P<plus>\+?)(?![\w-]|\s[A-Z])"
)
_SCALES = {"k": "thousand", "M": "million", "mn": "million", "B": "billion", "bn": "billion"}
_PER = re.compile(
    r"(?P<what>\d\s[a-z]{2,15}|dollars?|cents?|euros?|pounds?|pence|yen|rupees?|francs?|thousand|million|billion|times)"
    rf"\s?/\s?(?P<per>{_any(_DIVISORS)})\b(?:\.(?=\s[a-z]))?"
)


def units(text: str) -> str:
    """ "100 km/h" becomes "one hundred kilometers per hour"."""
    text = _HEIGHT.sub(r"\1 foot \2", text)
    text = _FEET_AND_INCHES.sub(r"\1 feet \2 inches", text)
    text = _FEET.sub(r"\1 feet", text)
    text = _HOURS_AND_MINUTES.sub(r"\1 h \2 min", text)
    text = _DEGREES.sub(_degrees, _TO_AFTER_SIGN.sub(r"\1 to ", text))
    text = _INCHES_LAST.sub(r"\1 inches", _INCHES.sub(_inches, text))
    text = _SCALED.sub(_scaled, _MEASURE.sub(_measure, text))
    if "/" in text:
        text = _PER.sub(lambda match: f"{match['what']} per {_DIVISORS[match['per']]}", text)
    return text


def _measure(match: re.Match[str]) -> str:
    if match["gap"] == "-" and len(match["unit"] or "long") == 1:  # "5-s" and the like are no measurements
        return match.group()
    if match["unit"] == "s" and not match["gap"] and _BEFORE_PLURAL.search(before(match.string, match.start())):
        return match.group()
    written = match["quantity"]
    singular = is_one(written) or match["gap"] == "-" or is_attribute(match.string, match.start(), match.end())
    name = _name(match, singular)
    words = of_one(quantity(written), name) if singular else f"{quantity(written)} {name}"
    if match["per"]:
        power = f"{_POWERS[match['per_power']]} " if match["per_power"] else ""
        words += f" per {power}{_DIVISORS[match['per']]}"
    return words


def _name(match: re.Match[str], singular: bool) -> str:
    if match["fixed"]:
        return SAME_IN_PLURAL[match["fixed"]]
    divisor = power = ""
    if match["rate"]:
        name, divisor = RATES[match["rate"]]
        divisor = f" per {divisor}"
    elif match["unit"]:
        name = SINGULAR[match["unit"]]
    else:
        name = LENGTHS[match["side"] or match["length"]]
        power = f"{_POWERS[match['before'] or match['power']]} "
    return power + (name if singular else plural(name)) + divisor


def _degrees(match: re.Match[str]) -> str:
    written = match["quantity"]
    name = "degree" if is_one(written) else "degrees"
    return f"{quantity(written)} {name}{_DEGREE_NAMES.get(match['scale'] or match['sign'], '')}"


def _inches(match: re.Match[str]) -> str:
    """A quotation mark is no inch where it ends a quotation."""
    if match.group().endswith('"') and before(match.string, match.start()).count('"') % 2:
        return match.group()
    written = match["quantity"]
    singular = is_one(written) or is_attribute(match.string, match.start(), match.end())
    return f"{quantity(written)} {'inch' if singular else 'inches'}"


def _scaled(match: re.Match[str]) -> str:
    number, scale = match["number"], match["scale"]
    if scale == "B" and "." not in number and not is_counted(match.string, match.end()):
        return match.group()  # "seat 23B"
    return f"{quantity(number)} {_SCALES[scale]}{' plus' if match['plus'] else ''}"
