"""How far a transcript is from what was said, in words. Pure; letter case and punctuation do not count."""

import re

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def words(text: str) -> list[str]:
    """Comparable words: lower case, no punctuation, single digits spelled out."""
    found = re.findall(r"[a-z']+|\d", text.lower().replace("-", " "))
    return [DIGITS[int(word)] if word.isdigit() else word for word in found]


def word_errors(truth: str, heard: str) -> int:
    """Fewest insertions, deletions and substitutions of words that turn `truth` into `heard`."""
    wanted, got = words(truth), words(heard)
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        above, row = row, [i]
        for j, other in enumerate(got, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other)))
    return row[-1]
