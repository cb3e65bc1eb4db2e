"""Integrations: tools that LM Studio itself runs, for ``/api/v1/chat``. PURE.

Source: https://lmstudio.ai/docs/developer/rest/chat
"""

from __future__ import annotations

from typing import Any

from neuroroute.jsontypes import is_array, is_mapping
from neuroroute.rules import are_headers, is_words, not_json

_NEEDED = {"plugin": ("id",), "ephemeral_mcp": ("server_label", "server_url")}
"""What each kind must have."""


def is_integration(value: Any) -> bool:
    """A plugin's id, or a dict that names a plugin or an MCP server; other members are the server's to judge."""
    if not is_mapping(value):
        return is_words(value)
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _NEEDED or not all(is_words(value.get(name)) for name in _NEEDED[kind]):
        return False
    allowed, headers = value.get("allowed_tools"), value.get("headers")
    if allowed is not None and not (is_array(allowed) and all(map(is_words, allowed))):
        return False
    return (headers is None or are_headers(headers)) and not_json(value, "") is None
