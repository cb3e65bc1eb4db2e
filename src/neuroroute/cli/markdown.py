"""Markdown as rich draws it, but for one law: no letter and no digit of an answer is lost on its way to the screen.

rich leaves HTML out, hides where links lead, joins lines, and cuts long words in tables; CommonMark itself swallows
cells beyond a table's header, link definitions and what is nested too deep. Here the tokens are changed before they
are drawn; a block of which something would be lost all the same stands there as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from urllib.parse import unquote

from markdown_it.token import Token
from rich import markdown as drawn
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text

from neuroroute.cli.blocks import parser

_DEEPEST = 12
"""Level of tokens: about five lists in one another. What is deeper has no room on the screen."""
_CELL = 6
"""Columns of the screen that a table's column takes at least."""


class WholeMarkdown(drawn.Markdown):
    """Draws all of a text."""

    def __init__(self, text: str) -> None:
        super().__init__("")
        self.markup = text
        self.parsed = list(_whole(parser().parse(text), text))


def _whole(tokens: Sequence[Token], text: str) -> Iterator[Token]:
    """The tokens, block by block, ready to be drawn."""
    lines = [f"{line}\n" for line in text.split("\n")]
    starts = [at for at, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
    for start, end in pairwise((*starts, len(tokens))):
        block = tokens[start:end]
        first, last = block[0].map or (0, len(lines))
        source = "".join(lines[first:last])
        if _letters(source) > sum(map(_shown, block)) or any(token.level > _DEEPEST for token in block):
            yield Token("html_block", "", 0, content=source)
        else:
            for token in block:
                if token.children:
                    token.children = list(_inline(token.children))
                yield token


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _shown(token: Token) -> int:
    """Letters and digits of a token that are drawn, if :func:`_inline` does what it promises."""
    return _letters(token.content) + (_letters(token.info) if token.type in ("fence", "list_item_open") else 0)


def _inline(tokens: Iterable[Token]) -> Iterator[Token]:
    """Lines stay lines, HTML and images stand as they were written, a link says where it leads."""
    links: list[tuple[Token, list[str]]] = []
    for token in tokens:
        content = token.content
        if token.type == "link_open":
            links.append((token, []))
            yield Token("styled_open", "link", 1)
        elif token.type == "link_close":
            link, said = links.pop()
            yield Token("styled_close", "link", -1)
            if target := _target(link, "".join(said)):
                yield Token("target", "link_url", 0, content=f" ({target})")
        elif token.type == "softbreak":
            yield Token("hardbreak", "br", 0)
        else:
            if token.type == "image":
                content = f"![{content}]({_place(token, 'src')})"
            for _, said in links:
                said.append(content)
            yield Token("text", "", 0, content=content) if token.type in ("image", "html_inline") else token


def _target(link: Token, said: str) -> str:
    """Where a link leads, unless its text is that."""
    place = _place(link, "href")
    return "" if link.info == "auto" or place in (said, f"mailto:{said}") else place


def _place(token: Token, attribute: str) -> str:
    # As it was written, where markdown-it has put percent signs into it.
    place, title = unquote(str(token.attrs.get(attribute, ""))), token.attrs.get("title")
    return f'{place} "{title}"' if title else place


# ── Elements ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Literal(drawn.TextElement):
    """A block as it was written."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.text.plain.rstrip())


class _Code(drawn.CodeBlock):
    """A code block; what stands behind its fence is told, unless it is a language's name."""

    info = ""

    @classmethod
    def create(cls, markdown: drawn.Markdown, token: Token) -> _Code:
        made = cls(token.info.partition(" ")[0] or "text", markdown.code_theme)
        info = token.info.strip()
        made.info = info if Syntax("", info).lexer is None else ""
        return made

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.info:
            yield Text(self.info, style="dim")
        yield from super().__rich_console__(console, options)


class _Item(drawn.ListItem):
    """An item of a list, with its number as it was written."""

    number = ""

    @classmethod
    def create(cls, markdown: drawn.Markdown, token: Token) -> _Item:
        made = cls()
        made.number = token.info
        return made


class _List(drawn.ListElement):
    """A list; its numbers are those that were written."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = [item.number if isinstance(item, _Item) else "" for item in self.items]
        width = max(map(len, marks), default=0) + 2
        for item, mark in zip(self.items, marks, strict=True):
            if not mark:
                yield from item.render_bullet(console, options)
                continue
            style = console.get_style("markdown.item.number", default="none")
            lines = console.render_lines(
                item.elements, options.update(width=options.max_width - width), style=item.style
            )
            for number, line in enumerate(lines or [[]]):
                yield Segment(f"{'' if number else mark:>{width - 1}} ", style)
                yield from line
                yield Segment.line()


class _Table(drawn.TableElement):
    """A table whose long words are broken, not cut; without room for its columns, rows are lines."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        header = self.header.row.cells if self.header and self.header.row else []
        if len(header) * _CELL > options.max_width:
            rows = [header, *(row.cells for row in (self.body.rows if self.body else ()))]
            yield Text("\n").join(Text(" | ").join(cell.content for cell in row) for row in rows)
            return
        for made in super().__rich_console__(console, options):
            for column in getattr(made, "columns", ()):
                column.overflow = "fold"
            yield made


WholeMarkdown.elements = {
    **drawn.Markdown.elements,
    "html_block": _Literal,
    "fence": _Code,
    "bullet_list_open": _List,
    "ordered_list_open": _List,
    "list_item_open": _Item,
    "table_open": _Table,
}
WholeMarkdown.inlines = {*drawn.Markdown.inlines, "link", "link_url"}
