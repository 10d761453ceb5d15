"""What models write and no caller is to hear or read: thoughts, control tokens, tags, entities, citation marks.

Pure. `find_mark` looks at one place of a text and says what stands there, or that it can't be told yet.
"""

import html
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from server.llm import formulas

LONGEST_MARK = 300
"""Characters after which what might be a mark is none, so that nothing waits for an end that never comes."""

LONGEST_END = 40
"""Characters that the end of something hidden has at most."""

STARTS = re.compile(
    r"<(?=/?(?:[a-zA-Z]|\Z)|\|(?:[\w /:.-]|\Z)|!(?:-|\Z)|<(?:/?[sS]|/?\Z))|\[(?=\^?(?:\d|\Z)|/?(?:[a-zA-Z]|\Z))"
    r"|&(?=[#a-zA-Z]|\Z)|\$(?=\S|\Z)|\\(?=[(\[a-zA-Z]|\Z)|\u3010(?!\u3010)|\u25c1(?=/?(?:[tT]|\Z))|\ue200(?!\ue200)"
)
"""Where a mark may begin, as far as its first characters tell."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark of `length` characters. `text` stands in its place; what follows is hidden up to `hides_until`, if set.

    `ends_thought` is set for the end of a thought, whose beginning the model may not have written.
    """

    length: int
    text: str = ""
    hides_until: re.Pattern[str] | None = None
    ends_thought: bool = False


class Undecided(Enum):
    """Whether it is a mark depends on what follows."""

    WAIT = 0


WAIT: Final = Undecided.WAIT

# --- what is hidden, from its beginning to its end

_THOUGHT = r"(?:seed:|ant)?(?:think|thinking|thoughts?|reason|reasoning|reflection|scratchpad|analysis|inner_monologue)"
_THOUGHT_START = re.compile(
    rf"<{_THOUGHT}(?:\s[^<>]*+)?>|\[(?:THINK|THINKING|REASONING)\]|\u25c1think\u25b7|<\|think\|>"
    r"|<\|(?:begin_of_thought|start_thinking)\|>|<\|channel>\s*(?:thought|analysis)",
    re.IGNORECASE,
)
_THOUGHT_END = re.compile(
    rf"</{_THOUGHT}\s*>|\[/(?:THINK|THINKING|REASONING)\]|\u25c1/think\u25b7|<\|/think\|>"
    r"|<\|(?:end_of_thought|end_thinking)\|>|<channel\|>",
    re.IGNORECASE,
)
# gpt-oss: each message says in which channel it is; only what is final is for the caller.
_HARMONY = re.compile(
    r"(?:<\|start\|>\w*+)?<\|channel\|>(\w++)[^<]*+(?:<\|constrain\|>\w*+)?<\|message\|>", re.IGNORECASE
)
_HARMONY_END = re.compile(r"<\|(?:end|call|return)\|>", re.IGNORECASE)
_BLOCKS = tuple(
    (re.compile(start, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for start, end in (
        (r"<!--", r"-->"),
        (r"<(?:script|style)(?:\s[^<>]*+)?>", r"</(?:script|style)\s*>"),
        # A call that the server did not recognise as one.
        (
            r"<(?:tool_calls?|function_calls?|tool_use|function=[\w.-]+|invoke)(?:\s[^<>]*+)?>",
            r"</(?:tool_calls?|function_calls?|tool_use|function|invoke)\s*>",
        ),
        (r"<\|tool_calls?(?:_section)?_begin\|>", r"<\|tool_calls?(?:_section)?_end\|>"),
        (r"\[TOOL_CALLS\]", r"(?!)"),
    )
)

# --- what stands for itself

_CONTROL = re.compile(
    r"<\|(?:im_start|start_header_id)\|>\w*+(?:<\|end_header_id\|>)?\s*+|<\|[\w /:.-]{1,60}\|>"
    r"|<(?:start|end)_of_turn>(?:user|model)?\s*+|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
_CONTROL_BEGUN = re.compile(
    r"<\|(?:start|channel)\|>[^<]*+(?:<[^<]*+){0,2}\Z|<\|(?:im_start|start_header_id)\|>\w*+(?:<[|\w]*+>?)?\s*+\Z"
    r"|<\|[\w /:.-]{0,60}\|?\Z|<\|channel>\s*\w{0,8}\Z|<channel\|?\Z|<(?:start|end)_of_turn>\w{0,5}\Z|<</?\w{0,3}>?\Z",
    re.IGNORECASE,
)
_ATTRIBUTE = r"""\s++[\w:.-]++\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'<>=]++)"""
_TAG = re.compile(rf"<(/?)([a-zA-Z][\w:.-]*+)(?:{_ATTRIBUTE})*+\s*+(/?)>")
_TAG_BEGUN = re.compile(
    rf"""<(?:/?(?:[a-zA-Z][\w:.-]*+(?:{_ATTRIBUTE})*+\s*+
    (?:[\w:.-]++\s*+(?:=\s*+(?:"[^"<>]*+|'[^'<>]*+|[^\s"'<>=]*+))?)?/?)?|/?function=?[\w.-]*|!-{{0,2}})\Z""",
    re.VERBOSE,
)
_BREAKS = re.compile(
    r"address|article|blockquote|br|dd|div|dl|dt|figure|footer|h[1-6]|header|hr|li|main|nav|ol|p|pre|section|table|tbody"
    r"|tfoot|thead|tr|ul"
)
_INLINE = re.compile(
    r"a|abbr|answer|assistant|audio|b|big|body|break|center|cite|code|del|details|dfn|em|emphasis|final|final_answer|font"
    r"|head|html|i|img|ins|kbd|label|mark|message|output|phoneme|prosody|q|reply|response|result|s|samp|say-as|small|span"
    r"|speak|speech|strike|strong|sub|summary|sup|text|tt|u|var|voice"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,30});")
_ENTITY_BEGUN = re.compile(r"&#?\w{0,31}\Z")
_NUMBERS = r"\^?\d{1,3}(?:\s?[,\u2013-]\s?\^?\d{1,3}){0,8}"
_CITATION = re.compile(
    rf"\[{_NUMBERS}\](?:\([^()\s]{{0,250}}\))?(?!\s(?:for|to|if|when)\b)"  # "[1] for sales" is a key of a telephone
    r"|\[(?:docs?|sources?|src|refs?|cite|citation)[_: ]{0,2}\d{1,3}\]|\[citation needed\]"
    r"|\u3010[^\u3010\u3011]{0,100}\u3011|\ue200[^\ue200\ue201]{0,200}\ue201",
    re.IGNORECASE,
)
_HIDDEN = re.compile(
    "|".join(
        pattern.pattern
        for pattern in (_THOUGHT_START, _THOUGHT_END, _HARMONY, *(start for start, _ in _BLOCKS), _CONTROL)
    ),
    re.IGNORECASE,
)
_CITATION_BEGUN = re.compile(
    r"\[\^?[\d^, \u2013-]{0,24}(?:\](?:\([^()\s]{0,250}\)?)?(?:\s(?:f|fo|t|i|w|wh|whe)?)?)?\Z"
    r"|\[/?[a-z]{0,12}[_: ]{0,2}(?:\d{0,3}|n[ed]{0,5}|c[als]{0,4})\Z"
    r"|\u3010[^\u3010\u3011]{0,100}\Z|\ue200[^\ue200\ue201]{0,200}\Z|\u25c1/?t?h?i?n?k?\Z",
    re.IGNORECASE,
)
_NAMES_A_KEY = re.compile(
    r"\b(?:press|dial|enter|type|key|option|digit|number|button|choose|select|or)\s*$", re.IGNORECASE
)


def find_mark(text: str, at: int, before: str, markup: bool, final: bool) -> Mark | Undecided | None:
    """What `text` has at `at`, where one of `STARTS` stands; None: nothing but that character.

    `before` is the end of what stood before it. Without `markup` only what never is for anyone counts: thoughts,
    control tokens, calls. `final` says that no more text comes.
    """
    if before.endswith("`") and (named := _TAG.match(text, at)):
        return Mark(named.end() - at, named[2]) if markup else None  # the tag is what is spoken of
    decided = final or len(text) - at > LONGEST_MARK
    if not decided and _may_grow(text, at, markup):
        return WAIT
    return _hidden(text, at) or (_markup(text, at, before) if markup else None)


def _may_grow(text: str, at: int, markup: bool) -> bool:
    """Whether more text could make another mark of what stands at `at`."""
    match text[at]:
        case "<":
            return bool(_CONTROL_BEGUN.match(text, at) or _TAG_BEGUN.match(text, at))
        case "&":
            return markup and _ENTITY_BEGUN.match(text, at) is not None
        case "$" | "\\":
            return markup and formulas.may_grow(text, at)
    return _CITATION_BEGUN.match(text, at) is not None


def _hidden(text: str, at: int) -> Mark | None:
    if not _HIDDEN.match(text, at):
        return None
    if found := _THOUGHT_START.match(text, at):
        return Mark(found.end() - at, hides_until=_THOUGHT_END)
    if found := _THOUGHT_END.match(text, at):
        return Mark(found.end() - at, ends_thought=True)
    if found := _HARMONY.match(text, at):
        return Mark(found.end() - at, hides_until=None if found[1].lower() == "final" else _HARMONY_END)
    for start, end in _BLOCKS:
        if found := start.match(text, at):
            return Mark(found.end() - at, hides_until=end)
    found = _CONTROL.match(text, at)
    return Mark(found.end() - at) if found else None


def _markup(text: str, at: int, before: str) -> Mark | None:
    match text[at]:
        case "<":
            found = _TAG.match(text, at)
            return _tag(found, before) if found else None
        case "&":
            found = _ENTITY.match(text, at)
            return Mark(found.end() - at, html.unescape(found[0]).replace("\xa0", " ")) if found else None
        case "$" | "\\":
            formula = formulas.find(text, at)
            return Mark(*formula) if formula else None
    if (found := _CITATION.match(text, at)) and not (text[at] == "[" and _NAMES_A_KEY.search(before)):
        return Mark(found.end() - at)
    return None


def _tag(found: re.Match[str], before: str) -> Mark | None:
    closes, name, length = found[1], found[2].lower(), found.end() - found.start()
    if _BREAKS.fullmatch(name):
        return Mark(length, "\n")
    if name in ("td", "th"):
        return Mark(length, " | " if closes else "")
    if closes or found[3] or "=" in found[0] or _INLINE.fullmatch(name):
        return Mark(length)
    # A placeholder such as <name>; but "vector<int>" is no markup.
    return None if before[-1:].isalnum() else Mark(length, found[2].replace("_", " "))
