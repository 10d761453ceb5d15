"""Codes of letters and digits as they are dictated: "X7K9Q2" becomes "X seven K, nine Q two"."""

import re

from server.normalization.words import AND_SO_ON, MOST_DICTATED, digits, grouped

_RUN = re.compile(r"\d+|[A-Za-z]")
_WORD = re.compile(r"(?=[A-Za-z]*?[AEIOUYaeiouy])[A-Za-z]{4,}")


def letter(character: str, following: str) -> str:
    """The name of a letter before the text `following`.

    A voice says "uh" for a lone A, which it takes for the article; as an initial, "A.", it is the letter.
    """
    name = character.upper()
    return f"{name}." if name == "A" and following[:1] not in (".", ",", ";", ":") else name


def spelled(parts: list[str], following: str) -> str:
    """Each letter and digit of `parts` by its name, with a short pause between groups; `following` is what follows.

    Each part begins a group. Of a part longer than any code that people dictate the end is left out.
    """
    groups = [group for part in parts for group in grouped(part)]
    names = [_group(group, "," if index + 1 < len(groups) else following) for index, group in enumerate(groups)]
    return ", ".join(names + [AND_SO_ON] * any(len(part) > MOST_DICTATED for part in parts))


def dictated(code: str, following: str) -> str:
    """`code`, whose parts hyphens, slashes or spaces separate, spelled but for the parts that can be read as a word."""
    parts = re.split("[-/ ]", code)
    return ", ".join(
        part if _WORD.fullmatch(part) else spelled([part], "," if index + 1 < len(parts) else following)
        for index, part in enumerate(parts)
    )


def _group(group: str, following: str) -> str:
    runs = _RUN.findall(group)
    names = [
        digits(run) if run.isdecimal() else letter(run, " " if index + 1 < len(runs) else following)
        for index, run in enumerate(runs)
    ]
    return " ".join(names)
