from __future__ import annotations

from neuroroute.telemetry.content import careful, shown


def test_every_text_is_redacted() -> None:
    """The hook is given every text but the words of the protocol, however deep it lies."""
    value = [{"role": "user", "parts": [{"type": "text", "content": "a"}, {"n": 5, "more": ("b", None)}]}]
    assert shown(value, str.upper) == [
        {"role": "user", "parts": [{"type": "text", "content": "A"}, {"n": 5, "more": ["B", None]}]}
    ]


def test_no_hook_keeps_everything() -> None:
    """Without a hook texts are kept as they are."""
    assert careful(None)("a") == "a"
