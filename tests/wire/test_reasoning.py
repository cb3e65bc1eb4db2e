from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.wire.reasoning import ThinkSplitter

PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</", "think>", "<", " ", "\n", "a", "bc", ">"]), max_size=12
)


def split(pieces: list[str]) -> tuple[str, str]:
    splitter = ThinkSplitter()
    parts = [*(splitter.feed(piece) for piece in pieces), splitter.finish()]
    return "".join(part[0] for part in parts), "".join(part[1] for part in parts)


@given(PIECES)
def test_any_cut_gives_the_same_split(pieces: list[str]) -> None:
    """Reasoning and text do not depend on how the content was cut."""
    whole = "".join(pieces)
    assert split(pieces) == split([whole]) == split(list(whole))


@given(st.text())
def test_content_without_a_leading_block_is_unchanged(content: str) -> None:
    """Text that does not begin with a think block is given out as it came."""
    if not content.lstrip().startswith("<think>"):
        assert split(list(content)) == ("", content)


@pytest.mark.parametrize(
    ("content", "reasoning", "text"),
    [
        ("<think>a</think>b", "a", "b"),
        ("\n <think>\na\n</think>\n\nb\n", "\na\n", "b\n"),
        ("<think></think>b", "", "b"),
        ("<think>cut off", "cut off", ""),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("say <think>a</think>", "", "say <think>a</think>"),
        ("<thin", "", "<thin"),
        ("<think>a</thinker</think>b", "a</thinker", "b"),
    ],
)
def test_blocks(content: str, reasoning: str, text: str) -> None:
    """Only the block that the content begins with is reasoning; what may yet be a tag is never lost."""
    assert split(list(content)) == (reasoning, text)


def test_text_is_held_back_no_longer_than_needed() -> None:
    """What can no longer be a tag is given out at once."""
    splitter = ThinkSplitter()
    assert splitter.feed("<th") == ("", "")
    assert splitter.feed("at is") == ("", "<that is")
    assert splitter.feed("<") == ("", "<")
