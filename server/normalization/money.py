"""Sums of money: "$12.50", "€3,99", "£1.2 million", "USD 12", "12 USD", "-$5", "$5-10", "50¢"."""

import re

from server.normalization.context import is_attribute
from server.normalization.currencies import BY_CODE, BY_SYMBOL, Currency
from server.normalization.marks import DASH, MINUS
from server.normalization.words import cardinal, decimal

_CURRENCIES = BY_SYMBOL | BY_CODE
_SYMBOL = "|".join(re.escape(symbol) for symbol in sorted(BY_SYMBOL, key=len, reverse=True))
_CODE = "|".join(BY_CODE)
_SCALES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "mio": "million",
    "b": "billion",
    "B": "billion",
    "bn": "billion",
    "T": "trillion",
    "tn": "trillion",
}
_SUM = (
    r"(?:(?:\d{1,3}(?:[,\u00a0\u202f]\d{3}){1,5}|\d{1,3}(?:\.\d{3}){1,4}(?=,\d\d(?!\d))|\d{1,15})"
    r"(?:\.\d{1,15}|,\d{2}(?!\d))?|\.\d\d)(?!\d)"
)
_SCALE_NAME = rf"(?:hundred|thousand|million|billion|trillion|{'|'.join(_SCALES)})(?!\w)"
_SCALE = rf"(?:\s?(?P<scale>{_SCALE_NAME}))?"
_CURRENCY_FIRST = re.compile(
    rf"(?P<minus>(?<![\w)]){MINUS})?(?<!\w)(?P<currency>{_SYMBOL}|(?:{_CODE})\s?)(?P<inner_minus>{MINUS})?\s?"
    rf"(?P<sum>{_SUM})(?:(?:\s?(?P<first_scale>{_SCALE_NAME}))?(?:{DASH}(?P=currency)?|\s{DASH}\s(?P=currency))(?P<to>{_SUM}))?{_SCALE}"
)
_CURRENCY_LAST = re.compile(
    rf"(?<![\w.,:/])(?P<minus>{MINUS})?(?P<sum>{_SUM})(?:{DASH}(?P<to>{_SUM}))?{_SCALE}"
    rf"\s?(?P<currency>{_SYMBOL}|{_CODE})(?!\w)"
)
_CENTS = re.compile(r"(?<![\w.,:/])(?P<sum>\d{1,6}(?:\.\d{1,4})?)\s?¢")


def money(text: str) -> str:
    """ "$12.50" becomes "twelve dollars and fifty cents"."""
    text = _CURRENCY_LAST.sub(_aloud, _CURRENCY_FIRST.sub(_aloud, text))
    if "¢" in text:
        text = _CENTS.sub(lambda match: f"{decimal(match['sum'])} cent{'' if match['sum'] == '1' else 's'}", text)
    return text


def _aloud(match: re.Match[str]) -> str:
    groups = match.groupdict()
    currency = _CURRENCIES[match["currency"].strip()]
    words = "minus " if match["minus"] or groups.get("inner_minus") else ""
    written = _with_point(match["sum"])
    if match["to"]:
        scale = groups.get("first_scale")
        words += f"{_number(written)}{f' {_SCALES.get(scale, scale)}' if scale else ''} to "
        written = _with_point(match["to"])
    return words + _sum(written, match["scale"], currency, is_attribute(match.string, match.start(), match.end()))


def _sum(written: str, scale: str | None, currency: Currency, describes: bool) -> str:
    """`describes`: it stands before a noun, as in "a twenty dollar bill"."""
    if scale:
        return f"{_number(written)} {_SCALES.get(scale, scale)} {currency.one if describes else currency.many}"
    whole, _, fraction = written.partition(".")
    units, cents = int(whole.replace(",", "") or "0"), int(fraction or "0")
    if not currency.cent or len(fraction) != 2:
        return f"{_number(written)} {currency.one if written == '1' or describes else currency.many}"
    parts = []
    if units or not cents:
        parts.append(f"{cardinal(units)} {currency.one if units == 1 or describes else currency.many}")
    if cents:
        parts.append(f"{cardinal(cents)} {currency.cent if cents == 1 or describes else currency.cents}")
    return " and ".join(parts)


def _number(written: str) -> str:
    whole, _, fraction = written.partition(".")
    return decimal(written if fraction.strip("0") else whole)


def _with_point(written: str) -> str:
    """ "3,99" as "3.99", "1.234,56" as "1234.56", "1 234" as "1,234"."""
    if re.search(r"\.\d{3},", written):
        written = written.replace(".", "")
    return re.sub(r",(\d\d)\Z", r".\1", re.sub(r"[\u00a0\u202f]", ",", written))
