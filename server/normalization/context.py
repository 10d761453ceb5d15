"""What the words beside a number say about it. Each function looks at a few words, however long the text is."""

import re

_NEAR = 48  # characters: about eight words

_NEXT_WORD = re.compile(
    r"[ -](?:(?:square|cubic|new|more|other|extra|additional|full|active|different|small|large|metric) )?"
    r"([a-z]{2,20})\b"
)
_PLURALS_WITHOUT_S = re.compile(
    r"people|children|men|women|feet|teeth|mice|sheep|fish|staff|percent|yen|yuan|euro|dollar|pound|kilometer|meter|mile"
    r"|hundred|thousand|[mb]illion|trillion|dozen|(?:kilo|mega|giga)?hertz"
)
_S_WITHOUT_PLURAL = re.compile(
    r"is|was|has|as|its|us|this|thus|yes|does|goes|says|works|gets|lets|starts|ends|opens|closes|ships|arrives|leaves"
    r"|departs|boards|lands|expires|needs|contains|includes|comes|runs|costs|means|appears|remains|requires|shows|takes"
    r"|seems|covers|applies|qualifies|belongs|begins|stays|serves|stops|seats|perhaps|always|plus|minus|versus|across"
    r"|afternoons|mornings|evenings|ours|yours|[a-z]*ss"
)
_NOUN = re.compile(
    r"[ -](?!(?:and|or|to|in|on|at|of|for|from|by|with|per|is|was|are|were|be|will|would|can|if|as|but)\b)[A-Za-z]{2,}"
)
_MEASURED_NOUN = re.compile(
    r"[ -](?:tablets?|pills?|capsules?|doses?|batter(?:y|ies)|bottles?|bags?|packs?|cans?|tanks?|cables?|monitors?"
    r"|screens?|races?|runs?|walks?|sprints?|drives?|files?|pools?|weights?|bills?|notes?|coins?|fees?|discounts?|deposits?"
    r"|salar(?:y|ies)|coupons?|vouchers?|gift|fines?|deals?|credits?|refunds?|bonus|limit|budget|prize)\b"
)
_BEFORE_NOUN = re.compile(r"\b(?:an?|every|each|another|one|per) $", re.IGNORECASE)


def before(text: str, start: int) -> str:
    """The last few words of `text` before `start`."""
    return text[max(0, start - _NEAR) : start]


def is_counted(text: str, end: int) -> bool:
    """Whether the number that ends at `end` counts things: "1500 people", "2500 new customers", not "2026 was"."""
    found = _NEXT_WORD.match(text, end)
    if not found:
        return False
    word = found[1]
    if word.endswith("s"):
        return not _S_WITHOUT_PLURAL.fullmatch(word)
    return bool(_PLURALS_WITHOUT_S.fullmatch(word))


def is_attribute(text: str, start: int, end: int) -> bool:
    """Whether the quantity from `start` to `end` describes the noun after it: "a 5 km run", "two $20 bills"."""
    if _MEASURED_NOUN.match(text, end):
        return True
    return bool(_NOUN.match(text, end) and _BEFORE_NOUN.search(before(text, start)))
