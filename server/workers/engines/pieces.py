"""Text cut into what an engine says in one go: sentences, the long ones cut further; and the tags for sounds.

Pure. It neither joins short sentences nor changes a word.
"""

import re
from collections.abc import Iterator

from hibari import Hibari

# The sounds and manners that Chatterbox Turbo has a token for (its added_tokens.json).
_TAGS = (
    "clear throat|sigh|shush|cough|groan|sniff|gasp|chuckle|laugh"
    "|angry|fear|surprised|whispering|advertisement|dramatic|narration|crying|happy|sarcastic"
)
TAG = re.compile(rf"\[(?:{_TAGS})\]")

_CLAUSE = re.compile(r".*?(?:(?<=[,;:—])\s+|\Z)", re.DOTALL)


def without_tags(text: str) -> str:
    """`text` for an engine that would read "[laugh]" aloud."""
    return TAG.sub("", text)


def sentence_parts(text: str, longest: int) -> Iterator[list[str]]:
    """For each sentence of `text` its parts of at most `longest` characters, one in most cases.

    A longer sentence is cut after clauses, a longer clause between words, a longer word anywhere, but no tag.
    """
    for sentence in Hibari.split_sentences(text):
        atoms = [sentence]
        if len(sentence) > longest:
            word = re.compile(rf"\s*(?:{TAG.pattern}|(?:(?!{TAG.pattern})\S){{1,{longest}}})")
            clauses = [clause for clause in _CLAUSE.findall(sentence) if clause]
            atoms = [
                atom
                for clause in clauses
                for atom in ([clause] if len(clause.strip()) <= longest else word.findall(clause))
            ]
        yield _filled(atoms, longest)


def _filled(atoms: list[str], longest: int) -> list[str]:
    """`atoms`, of which each by itself is short enough, joined as far as they remain so."""
    parts = [""]
    for atom in atoms:
        if len((parts[-1] + atom).strip()) <= longest:
            parts[-1] += atom
        else:
            parts.append(atom)
    return [part.strip() for part in parts if part.strip()]
