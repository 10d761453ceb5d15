"""Dates: "2026-11-29", "11/29/2026", "29.11.2026", "Nov 29", "29 November 2026"."""

import re

from server.normalization.context import is_counted
from server.normalization.marks import DASH
from server.normalization.words import ordinal, year

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_MONTH = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b"
)
_DAY_NUMBER = r"(?:0?[1-9]|[12]\d|3[01])"
_DAYS = rf"(?P<day>{_DAY_NUMBER})(?:st|nd|rd|th)?(?:{DASH}(?P<last>{_DAY_NUMBER})(?:st|nd|rd|th)?)?"
_YEAR = r"(?:,?\s(?P<year>[12]\d{3})(?![\w,.]*\d|-\d))?"
_WEEKDAY = r"(?P<weekday>Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:s|rs?|nes)?\b\.?"

_ISO = re.compile(
    r"(?<![\w./-])(?P<year>[12]\d{3})(?P<mark>[-/])(?P<month>0[1-9]|1[0-2])(?P=mark)(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:T(?P<time>[0-2]\d:[0-5]\d)(?::[0-5]\d(?:\.\d{1,9})?)?(?P<zone>Z?))?(?![\w/]|-\d)"
)
_NUMERIC = re.compile(
    r"(?<![\w./-])(?P<first>\d{1,2})(?P<mark>[/.-])(?P<second>\d{1,2})(?P=mark)"
    r"(?P<year>[12]\d{3}|(?<=/)\d{2}|(?<=\d\d\.\d\d\.)\d{2})(?![\w/]|[.-]\d)"
)
_NUMERIC_MONTH = re.compile(r"(?<![\w./-])(?P<month>0?[1-9]|1[0-2])/(?P<year>(?:19|20)\d{2})(?![\w/]|[.-]\d)")
_MONTH_DAY = re.compile(rf"\b{_MONTH}\.?\s{_DAYS}(?![\w:%$/-]|[.,]\d|\s?[ap]\.?m\b){_YEAR}")
_DAY_MONTH = re.compile(rf"(?<![\w.,:/-])(?:the\s)?{_DAYS}\s(?:of\s)?{_MONTH}(?:\.(?=,?\s[\da-z]))?{_YEAR}")
_MONTH_YEAR = re.compile(rf"\b{_MONTH}\.?\s(?P<year>[12]\d{{3}})(?![\w:%/-]|[.,]\d)")
_WEEKDAY_BEFORE_NUMBER = re.compile(rf"\b{_WEEKDAY}(?=,?\s{_MONTH}\.?\s\d|:?,?\s\d)")
_MONTHS_FROM_TO = re.compile(rf"\b{_MONTH}\.?\s?{DASH}\s?(?={_MONTH.replace('?P<month>', '?:')})")
_WEEKDAYS_FROM_TO = re.compile(rf"\b{_WEEKDAY}\s?{DASH}\s?(?P<last>Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:s|rs?|nes)?\b\.?")


def dates(text: str) -> str:
    """Days become ordinals and years are read in pairs; the order of day and month stays where a month is named."""
    if "/" in text or "-" in text or "." in text:
        text = _NUMERIC.sub(_numeric, _ISO.sub(_iso, text))
        text = _NUMERIC_MONTH.sub(lambda match: f"{_MONTHS[int(match['month']) - 1]} {_year(match)}", text)
    text = _WEEKDAYS_FROM_TO.sub(lambda match: f"{_weekday(match['weekday'])} to {_weekday(match['last'])}", text)
    text = _WEEKDAY_BEFORE_NUMBER.sub(lambda match: _weekday(match["weekday"]), text)
    text = _MONTHS_FROM_TO.sub(lambda match: f"{_month(match)} to ", text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _DAY_MONTH.sub(lambda match: f"the {_days(match)} of {_month(match)}{_year(match, ', ')}", text)
    return _MONTH_YEAR.sub(lambda match: f"{_month(match)} {_year(match)}", text)


def month_and_day(month: int, day: int) -> str:
    """ "November twenty-ninth" of 11 and 29."""
    return f"{_MONTHS[month - 1]} {ordinal(day)}"


def _iso(match: re.Match[str]) -> str:
    time = f" at {match['time']}" if match["time"] else ""
    zone = " UTC" if match["zone"] else ""
    return f"{month_and_day(int(match['month']), int(match['day']))}, {_year(match)}{time}{zone}"


def _numeric(match: re.Match[str]) -> str:
    """With slashes or hyphens the month comes first, with points the day; unless that cannot be."""
    first, second, written = int(match["first"]), int(match["second"]), match["year"]
    month, day = (second, first) if match["mark"] == "." or first > 12 else (first, second)
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match.group()
    if len(written) == 2:
        written = f"{19 if int(written) > 50 else 20}{written}"
    return f"{month_and_day(month, day)}, {year(int(written))}"


def _month_day(match: re.Match[str]) -> str:
    if not match["year"] and is_counted(match.string, match.end()):
        return match.group()
    return f"{_month(match)} {_days(match)}{_year(match, ', ')}"


def _days(match: re.Match[str]) -> str:
    last = f" to {ordinal(int(match['last']))}" if match["last"] else ""
    return ordinal(int(match["day"])) + last


def _year(match: re.Match[str], before: str = "") -> str:
    return f"{before}{year(int(match['year']))}" if match["year"] else ""


def _month(match: re.Match[str]) -> str:
    return next(name for name in _MONTHS if name.startswith(match["month"][:3]))


def _weekday(written: str) -> str:
    return next(name for name in _WEEKDAYS if name.startswith(written))
