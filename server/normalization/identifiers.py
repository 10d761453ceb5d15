"""What the words beside it call an identifier: "Your PIN is 0042", "order number 48213", "gate B12".

Callers write identifiers down, and others have met voices that read them as quantities: pipecat PR#5212,
livekit/agents#1289.
"""

import re
from collections.abc import Callable

from server.normalization.context import before, is_counted
from server.normalization.marks import APOSTROPHE, OPENING
from server.normalization.spelling import dictated, letter, spelled
from server.normalization.words import cardinal, digits, year

# Whose value is always said digit by digit.
_CODES = (
    r"pins?|pass ?codes?|pass ?words?|otps?|codes?|zips?|post ?codes?|ibans?|bics?|ssns?|vins?|cvvs?|cvcs?|pnrs?"
    r"|locators?|(?:ending|ends?|starting|starts|beginning|begins)\s(?:in|with)|ending|last\s(?:four|4)(?:\sdigits)?"
)
# Whose value is said digit by digit if it has three or more.
_REFERENCE = (
    r"orders?|invoices?|cases?|tickets?|bookings?|reservations?|confirmations?|references?|refs?\.?|claims?"
    r"|polic(?:y|ies)|member(?:ship)?s?|customers?|clients?|accounts?|accts?\.?|a/c|loans?|tracking|shipments?|parcels?"
    r"|packages?|serials?|parts?|models?|items?|articles?|batch|lots?|licen[cs]es?|plates?|registrations?|passports?"
    r"|permits?|certificates?|dockets?|receipts?|transactions?|routing|ids?|users?|employees?|patients?|students?"
    r"|flights?|trains?|vouchers?|coupons?|cards?|numbers?|p\.?o\.?\sbox|skus?|isbns?|bugs?|issues?|rfcs?|requests?"
    r"|complaints?|files?|badges?|enter|type|key\sin|punch\sin"
)
# Whose value is a number if it has two digits or is round: "gate 42", "room 300", but "room 2-0-4".
_PLACE = (
    r"rooms?|suites?|apartments?|apts?\.?|flats?|units?|gates?|seats?|rows?|platforms?|lockers?|bus|buses|routes?"
    r"|highways?|interstates?|channels?|errors?|http|status|forms?|boeing|airbus|bays?|stands?|piers?|terminals?"
    r"|tracks?|lines?|exits?|area\scodes?|doors?|desks?|counters?|tables?|box|boxes"
)
_NUMBER = r"(?i:\s(?:numbers?|nos?\.?|nr\.?|ids?|codes?|keys?|reference|ref\.?|tag))"
_IS = (
    rf"(?i:{APOSTROPHE}s|\s(?:is|was|are|reads|will\sbe|would\sbe|should\sbe|it{APOSTROPHE}s|it\sis|as|now|again|simply"
    r"|just|still|here))"
)
_OPEN = rf"\s?[:=]?\s?{OPENING}?#?"
_END = r"(?![\w%]|[.,:]\d|[-/]\w|\s?[°€£$])"
_NO_MEASURE = r"(?!\d+(?:st|nd|rd|th|[a-z]{2,5}|[smhgkx]|[KMGT]B)\b)"
_VALUE = (
    rf"(?<![A-Za-z\d]){_NO_MEASURE}(?P<value>[A-Z]{{1,3}}[ -]\d{{1,6}}[A-Z]?"
    r"|(?=[A-Za-z-]{0,40}\d)[A-Za-z\d]{1,40}(?:[-/](?=[A-Za-z]{0,20}\d|[A-Z]{1,20}\b)[A-Za-z\d]{1,20}){0,8}"
    rf"(?: (?=[A-Z]{{0,8}}\d)[A-Z\d]{{2,8}}(?![\w%]|[.,:/-]\d)){{0,6}}){_END}"
)
_AND_OTHER = rf"(?:(?P<and>,\s|,?\s(?:and|or|to|through)\s)(?P<other>[A-Z]?\d{{1,12}}[A-Z]?){_END})?"
_OF_CODE = re.compile(rf"(?<![\w-])(?P<name>(?i:{_CODES})(?:{_NUMBER}|{_IS}){{0,4}}{_OPEN}){_VALUE}{_AND_OTHER}")
_OF_REFERENCE = re.compile(
    rf"(?<![\w-])(?P<name>(?i:{_REFERENCE})(?:{_NUMBER}{_IS}{{0,2}}|(?P<bare>{_IS}))?{_OPEN}){_VALUE}{_AND_OTHER}"
)
_OF_PLACE = re.compile(rf"(?<![\w-])(?P<name>(?i:{_PLACE}){_NUMBER}?{_OPEN}){_VALUE}{_AND_OTHER}")
_FAR = re.compile(
    r"(?<![\w-])"
    r"(?P<name>(?i:pin|pass ?code|pass ?word|otp|code|id|number(?!\s(?:of|one)\b)|last\s(?:four|six)(?:\sdigits)?)"
    rf"(?:\s[\w\u2019'-]{{1,20}}){{1,8}}?{_IS}{_OPEN}){_VALUE}(?P<other>)"
)
_NAMED_AFTERWARDS = re.compile(
    rf"(?<![\w.,$€£-]){_VALUE}(?=\s(?:is|as)\s(?:your|the|my|our|a)\s(?:[\w-]{{1,20}}\s){{0,3}}"
    rf"(?i:{_CODES}|number|id|reference)\b)"
)
_LETTERS = re.compile(
    r"(?<![\w-])(?P<name>(?i:codes?|pin|pass ?code|pass ?word|locator|reference|pnr|confirmation)"
    rf"(?:{_NUMBER}|{_IS}){{0,4}}(?P<colon>:?)\s{OPENING}?)(?P<value>[A-Z]{{3,8}})(?!\w|-\w)"
)
_VOWEL = re.compile(r"[AEIOUY]")
_NUMBER_MARK = re.compile(r"(?<![\w&#])(?:#\s?|№\s?)(?=\d|[A-Z]{1,4}-?\d)")
_AFTER_NUMBER = re.compile(r"\b(?:number|no\.?)\s?$", re.IGNORECASE)
_SHORT_NUMBER = re.compile(r"\b(?:No|Nr)\.\s?(?=(?P<number>\d[\d-]{0,20}))|\bNos\.\s?(?=\d)")
_VERB = re.compile(r"(?:order|request|claim|file|issue|ticket)\s?$", re.IGNORECASE)
_BEFORE_VERB = re.compile(r"\b(?:to|you|we|I|they|can|could|please|will|would|must|should|let's|just) $", re.IGNORECASE)
_WORD_AND_NUMBER = re.compile(r"(?P<word>(?=[A-Za-z]*?[AEIOUYaeiouy])[A-Za-z]{4,})(?P<number>\d{1,4})")
_RUN = re.compile(r"[A-Za-z]+|\d+")

Match = re.Match[str]


def identifiers(text: str) -> str:
    """The identifiers spelled, in groups; their names stay, and "#" becomes "number"."""
    if "#" in text or "№" in text:
        text = _NUMBER_MARK.sub(_number_mark, text)
    text = _SHORT_NUMBER.sub(_short_number, text)
    text = _OF_CODE.sub(_after_name(_code), text)
    text = _OF_REFERENCE.sub(_after_name(_reference), text)
    text = _OF_PLACE.sub(_after_name(_place), text)
    text = _FAR.sub(_after_name(_far), text)
    return _NAMED_AFTERWARDS.sub(lambda match: _far(match, "value"), text)


def letter_codes(text: str) -> str:
    """Codes of capital letters alone, as airlines have them: "booking code KXWQZT"."""
    return _LETTERS.sub(_letters, text)


def _number_mark(match: Match) -> str:
    return "" if _AFTER_NUMBER.search(before(match.string, match.start())) else "number "


def _short_number(match: Match) -> str:
    """ "No. 5" is a number; in "No. 5 people came" it is an answer."""
    is_answer = match["number"] and is_counted(match.string, match.end("number"))
    if is_answer:
        return match.group()
    return "number " if match["number"] else "numbers "


def _after_name(say: Callable[[Match, str], str]) -> Callable[[Match], str]:
    """The name and its value, or two values, as `say` says them."""

    def aloud(match: Match) -> str:
        words = match["name"] + say(match, "value")
        return f"{words}{match['and']}{say(match, 'other')}" if match["other"] else words

    return aloud


def _code(match: Match, group: str) -> str:
    value = match[group]
    return value if len(value) < 4 and _is_plain(value) and _counts(match, group) else _spelled(match, group)


def _reference(match: Match, group: str) -> str:
    value = match[group]
    if _is_plain(value):
        is_verb = _VERB.match(match["name"]) and _BEFORE_VERB.search(before(match.string, match.start()))
        says_sum = match["bare"] and not match["name"].lower().startswith("id")  # "the order is 1250"
        may_count = len(value) < 5 and (says_sum or _counts(match, group))
        if len(value) < 3 or is_verb or may_count:
            return value
    return _spelled(match, group)


def _place(match: Match, group: str) -> str:
    value = match[group]
    if _is_plain(value) and (len(value) < 3 or value.endswith("00") or _counts(match, group)):
        return value
    if re.fullmatch(r"\d{1,4}-\d{1,4}", value) and match["name"].endswith("s "):
        return value  # a range: "rows 10-12"
    runs = _RUN.findall(value)
    return " ".join(
        _run_of_place(run, " " if index + 1 < len(runs) else _following(match, group)) for index, run in enumerate(runs)
    )


def _run_of_place(run: str, following: str) -> str:
    if run.isdecimal():
        return cardinal(int(run)) if len(run) < 3 and run[0] != "0" else digits(run)
    return (
        run if len(run) > 3 or (len(run) > 1 and run.islower()) else " ".join(letter(name, following) for name in run)
    )


def _far(match: Match, group: str) -> str:
    """A name that stands farther away makes no identifier of a small quantity."""
    value = match[group]
    return value if _is_plain(value) and (len(value) < 4 or _counts(match, group)) else _spelled(match, group)


def _letters(match: Match) -> str:
    """Six letters after "is" are an airline's booking code; others are words unless they lack a vowel."""
    value = match["value"]
    is_introduced = match["colon"] or match["name"].endswith((" is ", " was "))
    if _VOWEL.search(value) and not (len(value) == 6 and is_introduced):
        return match.group()
    return match["name"] + spelled([value], _following(match, "value"))


def _is_plain(value: str) -> bool:
    """Whether it could be a quantity as well."""
    return value.isdecimal() and value[0] != "0"


def _counts(match: Match, group: str) -> bool:
    return is_counted(match.string, match.end(group))


def _spelled(match: Match, group: str) -> str:
    """ "SAVE20" has a word that is not spelled."""
    if word := _WORD_AND_NUMBER.fullmatch(match[group]):
        return f"{word['word']} {_number_in_word(word['number'])}"
    return dictated(match[group], _following(match, group))


def _number_in_word(number: str) -> str:
    if number.startswith(("19", "20")) and len(number) == 4:
        return year(int(number))
    return digits(number) if len(number) > 2 or number[0] == "0" else cardinal(int(number))


def _following(match: Match, group: str) -> str:
    return match.string[match.end(group) : match.end(group) + 1]
