"""Numbers as English words, without "and": "one hundred five", "nineteen ninety-nine", "zero zero four two".

Why our own: the libraries for it are under the LGPL (num2words) or take over a second to import (inflect).
"""

MOST_CARDINAL_DIGITS = 15  # nobody follows more words than "nine hundred trillion ..." have; longer ones are digits
MOST_DICTATED = 40  # characters of one run; the longest that people dictate, an IBAN, has 34
AND_SO_ON = "and so on"

_ONES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ("", " thousand", " million", " billion", " trillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_GROUPS = {6: (3, 3), 7: (3, 4), 8: (4, 4), 9: (3, 3, 3), 10: (3, 3, 4), 11: (5, 3, 3)}  # as telephone numbers are


def cardinal(number: int) -> str:
    """`number`, from 0 to 10**15 - 1."""
    if number < 1000:
        return _below_thousand(number)
    thousands: list[str] = []
    for scale in _SCALES:
        number, rest = divmod(number, 1000)
        if rest:
            thousands.append(_below_thousand(rest) + scale)
    return " ".join(reversed(thousands))


def ordinal(number: int) -> str:
    """ "twenty-first" of 21; the same bounds."""
    words = cardinal(number)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    return words[:cut] + _ordinal_word(words[cut:])


def year(number: int) -> str:
    """ "nineteen oh five" of 1905, "two thousand five" of 2005; from 1000 to 9999."""
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(number)
    return f"{cardinal(century)} {two_digits(rest) if rest else 'hundred'}"


def two_digits(number: int) -> str:
    """The minutes of 9:05, "oh five", or of 9:15, "fifteen"."""
    return f"oh {_ONES[number]}" if number < 10 else cardinal(number)


def digits(run: str) -> str:
    """Each digit of `run` by its name."""
    return " ".join(_ONES[int(digit)] for digit in run)


def grouped(run: str) -> list[str]:
    """The first 40 characters of `run` in the groups in which it is dictated."""
    spoken = run[:MOST_DICTATED]
    if len(spoken) <= 5:
        sizes: tuple[int, ...] = (len(spoken),)
    elif len(spoken) == 11 and spoken[0] == "1":
        sizes = (1, 3, 3, 4)
    else:
        sizes = _GROUPS.get(len(spoken), (4,) * (len(spoken) // 4 + 1))
    groups, start = [], 0
    for size in sizes:
        groups.append(spoken[start : start + size])
        start += size
    return [group for group in groups if group]


def digits_in_groups(*runs: str) -> str:
    """The digits of `runs` with a comma, which is a short pause, between the groups."""
    groups = [digits(group) for run in runs for group in grouped(run)]
    return ", ".join(groups + [AND_SO_ON] * any(len(run) > MOST_DICTATED for run in runs))


def decimal(number: str) -> str:
    """A number as it is written, "1,234.50", with as many decimals as were written; leading zeros are said too."""
    whole, point, fraction = number.partition(".")
    whole = whole.replace(",", "")
    leads = len(whole) > 1 and whole[0] == "0"
    words = digits_in_groups(whole) if leads or len(whole) > MOST_CARDINAL_DIGITS else cardinal(int(whole or "0"))
    if not point:
        return words
    tail = f"point {digits(fraction[:MOST_DICTATED])}"
    return f"{words} {tail}" if whole else tail


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        words.append(_TENS[tens] + (f"-{_ONES[ones]}" if ones else ""))
    elif rest or not words:
        words.append(_ONES[rest])
    return " ".join(words)


def _ordinal_word(word: str) -> str:
    if word in _ORDINALS:
        return _ORDINALS[word]
    return f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th"
