"""What of an answer stands on the screen: all of it."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from neuroroute.cli.markdown import WholeMarkdown


def drawn(text: str, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(WholeMarkdown(text))
    return console.file.getvalue()


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in drawn(text).strip("\n").splitlines()]


PIECES = [
    *("ea", "12", "é", "Zz", " ", "  ", "    ", "\n", "\n\n", "\t", "\\", "*", "**", "_", "~~", "`", "``", "```\n"),
    *(
        "~~~",
        "- ",
        "1. ",
        "7) ",
        "07. ",
        "# ",
        "> ",
        "---\n",
        "===\n",
        "| ",
        "|\n",
        "|-|-|\n",
        "|:-:|\n",
        ":",
        "!",
        "[",
        "]",
    ),
    *("(", ")", "[zz](ea)", '[zz](ea "12")', "![zz](ea)", '![*z*](ea "12")', "[zz]: ea\n", "[zz][ea]", "<ea@zz.ee>"),
    *(
        "<",
        ">",
        "</",
        "<b>",
        "<kbd>",
        "</kbd>",
        "<!--",
        "-->",
        "<ea:12>",
        "<div>\n",
        "<pre>",
        "&amp;",
        "&#12;",
        "<?",
        "<![CDATA[",
    ),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@example("| ea | zz |\n|---|---|\n| 1 | 2 | 3 |\n")
@example("[ea]: http://zz 'ee'\n")
@example("> " * 40 + "ea")
@example("- " * 40 + "ea")
@example(f"| ea | zz |\n|---|---|\n| {'e' * 200} | {'z' * 200} |\n")
@example("|" + "ea|" * 60 + "\n|" + "-|" * 60 + "\n|" + "12|" * 60)
@example("2024. ea\n1999. zz\n\n007. ee\n")
@example("~~~ea zz 12\nee\n~~~\n")
def test_every_letter_of_an_answer_stands_on_the_screen(text: str):
    """Whatever the Markdown is, no letter and no digit of it is lost."""
    lost = Counter(filter(str.isalnum, text)) - Counter(filter(str.isalnum, drawn(text)))
    assert not lost


@given(st.text(max_size=60))
def test_any_text_is_drawn_whole(text: str):
    """Nothing in Unicode gets lost either."""
    text = "".join(character for character in text if character.isprintable() or character == "\n")
    assert not Counter(filter(str.isalnum, text)) - Counter(filter(str.isalnum, drawn(text)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("if a<b> then List<String>", ["if a<b> then List<String>"]),
        ("<div>\n  <p>x</p>\n</div>", ["<div>", "  <p>x</p>", "</div>"]),
        ("<think>\nhm\n</think>", ["<think>", "hm", "</think>"]),
        ("roses\nviolets", ["roses", "violets"]),
        ("[here](http://x.y)", ["here (http://x.y)"]),
        ("**[a *b*](http://x.y 'z')**", ['a b (http://x.y "z")']),
        ("<http://x.y/ä>, [http://x.y](http://x.y), <a@b.cc>", ["http://x.y/ä, http://x.y, a@b.cc"]),
        ("![cat](c.png)", ["![cat](c.png)"]),
        ("3. a\n7. b", ["3 a", "7 b"]),
        ("write &lt; for <", ["write &lt; for <"]),
        ("```python\nx = 1\n```", ["x = 1"]),
        ("```python app.py\nx = 1\n```", ["python app.py", "x = 1"]),
    ],
)
def test_what_markdown_would_swallow_is_shown(text: str, shown: list[str]):
    """HTML and images stand as they were written, lines stay lines, a link says where it leads."""
    assert [
        line.strip() if text.startswith("`") or text[0].isdigit() else line for line in lines(text) if line.strip()
    ] == shown
