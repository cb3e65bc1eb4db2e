"""PURE: what of a text may be shown, and which part of unfinished Markdown will not change any more."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

# A model must not be able to move the cursor, change the title or write to the clipboard: no control characters but
# line feed and tab.
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return text.translate(_CONTROL)


def settled(text: str) -> tuple[list[str], str]:
    """Splits unfinished Markdown into blocks that further text cannot change, and the rest.

    Only the last block can still grow. A line that is not complete decides nothing: a ``2`` may become ``2. ``, an item
    of the list before it.
    """
    end = text.rfind("\n") + 1
    starts = sorted({token.map[0] for token in parser().parse(text[:end]) if token.level == 0 and token.map})
    if len(starts) < 2:
        return [], text
    lines = [f"{line}\n" for line in text[: end - 1].split("\n")]  # as the parser counts them; splitlines() knows more
    blocks = ["".join(lines[start:stop]) for start, stop in pairwise(starts)]
    return blocks, "".join(lines[starts[-1] :]) + text[end:]


@cache
def parser() -> MarkdownIt:
    """How every answer is read.

    Definitions of links may stand in another block than the links, and entities may be what an answer is about: both
    are left as they were written.
    """
    from markdown_it import MarkdownIt

    made = MarkdownIt(options_update={"maxNesting": 100})  # what is nested deeper is dropped
    return made.enable(["table", "strikethrough"]).disable(["reference", "entity"])
