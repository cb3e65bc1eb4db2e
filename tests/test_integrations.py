from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.integrations import is_integration
from neuroroute.options import checked

HUB = {"type": "ephemeral_mcp", "server_label": "hub", "server_url": "http://hub/mcp"}


@pytest.mark.parametrize(
    "right",
    [
        "mcp/playwright",
        {"type": "plugin", "id": "mcp/playwright"},
        {"type": "plugin", "id": "mcp/playwright", "allowed_tools": ["browser_navigate"]},
        HUB,
        {**HUB, "allowed_tools": ["search"], "headers": {"Authorization": "Bearer x"}},
        {**HUB, "what_later_versions_take": {"a": [1]}},
    ],
)
def test_the_documented_forms_are_taken(right: Any) -> None:
    """A plugin's id, a plugin, an MCP server: each form of LM Studio's documentation."""
    assert is_integration(right)
    assert checked({"integrations": (right,)}, "test") == {"integrations": [right]}


@pytest.mark.parametrize(
    "wrong",
    [
        *("", 5, None, [], {}),
        {"id": "a"},
        {"type": "plugin", "id": ""},
        {"type": "other", "id": "a"},
        {**HUB, "server_url": 5},
        {**HUB, "headers": {"X": "a\r\nb"}},
        {**HUB, "allowed_tools": [5]},
        {**HUB, "more": object()},
    ],
)
def test_others_are_refused(wrong: Any) -> None:
    """What misses what its kind must have, or cannot be sent, is none."""
    assert not is_integration(wrong)


PLAIN = st.none() | st.booleans() | st.text() | st.integers() | st.sampled_from(["plugin", "ephemeral_mcp"])
KEYS = st.sampled_from(["type", "id", "headers", "server_label", "server_url", "allowed_tools"])


@given(st.recursive(PLAIN, lambda deep: st.lists(deep) | st.dictionaries(KEYS, deep)))
def test_any_value_is_judged(value: Any) -> None:
    """No value makes the check fail in another way."""
    assert is_integration(value) in (True, False)
