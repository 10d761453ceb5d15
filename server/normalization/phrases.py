"""Numbers that are names, which everyone says in one way and no rule would: "24/7", "9/11", "401(k)"."""

import re

_SPOKEN = {
    "24/7": "twenty-four seven",
    "24/7/365": "twenty-four seven, three sixty-five",
    "24x7": "twenty-four seven",
    "100s": "hundreds",
    "1000s": "thousands",
    "1,000s": "thousands",
    "9/11": "nine eleven",
    "1-800": "one eight hundred",
    "401(k)": "four oh one K",
    "401k": "four oh one K",
    "403(b)": "four oh three B",
    "501(c)(3)": "five oh one C three",
    "7-Eleven": "Seven-Eleven",
    "720p": "seven twenty P",
    "1080p": "ten eighty P",
    "1440p": "fourteen forty P",
    "007": "double oh seven",
    "802.11": "eight oh two point eleven",
}
_ANY = re.compile(
    rf"(?<![\w.,/$-])(?:{'|'.join(re.escape(name) for name in sorted(_SPOKEN, key=len, reverse=True))})"
    r"(?![\w/]|[.,-]\d|-[A-Z])"
)


def phrases(text: str) -> str:
    """Those of `text` in words."""
    return _ANY.sub(lambda match: _SPOKEN[match.group()], text)
