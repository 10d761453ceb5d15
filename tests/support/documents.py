"""The fenced blocks of README and the documents, as a reader would paste them.

A block is run as it stands unless an HTML comment right before it says otherwise; nobody who reads the page sees it:

    <!-- test: file call.py -->      the block is the content of that file, for the blocks after it
    <!-- test: until WORDS -->       it goes on until Ctrl-C; it has come up when it wrote these words
    <!-- test: cloud -->             it is run against AWS on loopback (tests/cloud)
    <!-- test: none, REASON -->      no test can run it, and why

`<!-- tests: ... -->` at the top of a page holds for each of its blocks that has no comment of its own.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(path for path in (REPOSITORY / "examples").rglob("*.md") if "node_modules" not in path.parts),
    ]
)
PROGRAMS = {"sh", "python", "js", "ts"}
_FENCE = re.compile(r"(?:<!-- test: (?P<note>[^>]+?) -->\n+)?^```(?P<language>[\w-]*)\n(?P<text>.*?)^```$", re.M | re.S)
_ALL = re.compile(r"<!-- tests: ([^>]+?) -->")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block of `page`, which begins at `line`; `note` is what its comment says."""

    page: Path
    line: int
    language: str
    text: str
    note: str

    @property
    def name(self) -> str:
        """Where it is: README.md:17."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


@cache
def blocks() -> tuple[Block, ...]:
    """Every fenced block of every page, in order."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        of_page = _ALL.search(text)
        for fence in _FENCE.finditer(text):
            line = text.count("\n", 0, fence.start("text"))
            note = fence["note"] or (of_page[1] if of_page else "")
            found.append(Block(page, line, fence["language"], fence["text"], note))
    return tuple(found)


@cache
def inline() -> tuple[tuple[Path, str], ...]:
    """Every piece of code between single backticks, in one line, with its page."""
    found = []
    for page in PAGES:
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        found += [(page, " ".join(code.split())) for code in _INLINE.findall(text)]
    return tuple(found)


@cache
def command_lines() -> tuple[tuple[Path, str], ...]:
    """Every line of a shell block (those that `\\` joins are one) and every inline piece, with its page."""
    lines = [
        (block.page, line)
        for block in blocks()
        if block.language == "sh"
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    return (*lines, *inline())
