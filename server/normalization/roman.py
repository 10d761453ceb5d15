"""Roman numerals where they are certain: after the name of a ruler, and after "Chapter", "World War" and the like."""

import re

from server.normalization.words import cardinal, ordinal

_RULER = (
    "Henry|Louis|George|Edward|Charles|William|Richard|James|Elizabeth|Mary|Philip|Frederick|Napoleon|Nicholas"
    "|Alexander|Catherine|Peter|Ivan|Leopold|Ferdinand|Francis|Benedict|John Paul|Pius|Leo|Gregory|Clement|Innocent"
    "|Urban|Ramesses|Ramses|Ptolemy|Margrethe|Gustav|Christian|Olaf|Harald|Umberto|Wilhelm|Friedrich|Juan Carlos"
)
_NUMBERED = (
    "World War|Chapter|Part|Volume|Book|Act|Scene|Phase|Type|Title|Article|Section|Appendix|Level|Class|Category|Mark"
    "|Stage|Grade|Tier|Super Bowl|Rocky|Final Fantasy|Apollo|Group|Schedule|Annex|Factor"
)
# Up to 89, which is L and what follows it; of single letters only V and X, as "I" is mostly somebody who speaks.
_NUMERAL = (
    r"(?P<numeral>(?=[IVXL]{2}|[VX]\b)(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?<=[IVXL])"
    r"(?!\w|['\u2019.]\w)"
)
_OF_RULER = re.compile(rf"(?P<name>\b(?:{_RULER})) {_NUMERAL}")
_AFTER_NOUN = re.compile(rf"(?P<name>\b(?:{_NUMBERED})) (?:(?<=World War )(?P<first>I)(?!\w)|{_NUMERAL})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}


def roman_numerals(text: str) -> str:
    """ "Henry VIII" becomes "Henry the eighth", "Chapter IV" "Chapter four"."""
    text = _OF_RULER.sub(lambda match: f"{match['name']} the {ordinal(_value(match['numeral']))}", text)
    return _AFTER_NOUN.sub(
        lambda match: f"{match['name']} {cardinal(_value(match['first'] or match['numeral']))}", text
    )


def _value(numeral: str) -> int:
    values = [_VALUES[character] for character in numeral]
    return sum(-one if one < following else one for one, following in zip(values, [*values[1:], 0], strict=True))
