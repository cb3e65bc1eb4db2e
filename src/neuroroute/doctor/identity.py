"""PURE: what a server is, from what its pages say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from neuroroute.details import ListingSource, ModelDetails
from neuroroute.doctor.door import Page
from neuroroute.errors import LMStudioError
from neuroroute.jsontypes import is_array, is_mapping
from neuroroute.wire.failures import UNDECODABLE
from neuroroute.wire.listing import GREETING, LISTINGS, decode_listing, greets


def who(pages: Mapping[str, Page]) -> str:
    """What answers: ``LM Studio``, ``Ollama``, ``llama.cpp`` and so on; empty: nothing that can be named."""
    greeting, listing, front = (pages.get(path, Page()) for path in (GREETING, "/v1/models", "/"))
    if greets(greeting.status, greeting.body) or any(
        b"Unexpected endpoint or method" in one.body for one in pages.values()
    ):
        return "LM Studio"
    if front.body[:200].startswith(b"Ollama is running"):
        return "Ollama"
    owner = _owner(listing.body)
    server = listing.server or front.server
    if owner == "llamacpp" or server == "llama.cpp":
        return "llama.cpp"
    if owner == "vllm":
        return "vLLM"
    if asks_for_token(listing.body) or asks_for_token(greeting.body):
        return "LM Studio"
    return "a server with OpenAI's API" if listed(pages) else ""


def asks_for_token(body: bytes) -> bool:
    """Whether these are LM Studio's words to somebody without a right token."""
    return b"LM Studio API token" in body


def web_server(pages: Mapping[str, Page]) -> str:
    """What a server that has no API calls itself, for a sentence."""
    named = next((page.server for page in pages.values() if page.server), "")
    return f"a web server ({named[:40]})" if named else "something else"


def listed(pages: Mapping[str, Page]) -> tuple[ListingSource, list[ModelDetails]] | None:
    """The models, from the listing that tells most; None: there is no listing."""
    for source, path in LISTINGS.items():
        page = pages.get(path, Page())
        if page.status != 200:
            continue
        try:
            return source, decode_listing(page.body, source)
        except LMStudioError:
            continue
    return None


def says_loading(page: Page) -> bool:
    """Whether the server says that it is loading its model, as llama.cpp does."""
    return page.status == 503 and b"oading model" in page.body


def keys_in(page: Page) -> frozenset[str]:
    """The ids in a listing of OpenAI's form."""
    try:
        return frozenset(model.key for model in decode_listing(page.body, "openai"))
    except LMStudioError:
        return frozenset()


def _owner(body: bytes) -> str:
    try:
        found: Any = msgspec.json.decode(body)
    except UNDECODABLE:
        return ""
    models = found.get("data") if is_mapping(found) else None
    first = models[0] if is_array(models) and models else None
    return str(first.get("owned_by", "")) if is_mapping(first) else ""
