"""Asking a server for its models; completions are never run for it, and no model is loaded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeAlias

import msgspec

from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError
from neuroroute.wire.failures import failure, failure_in_success
from neuroroute.wire.listing import LISTINGS, Listing, decode_listing

Get: TypeAlias = Callable[[str, float], Awaitable[tuple[int, bytes]]]
"""Status and body of a URL, within so many milliseconds."""

Post: TypeAlias = Callable[[str, bytes, float], Awaitable[tuple[int, bytes]]]
"""Status and body of what a URL answers to a body, within so many milliseconds."""


async def list_models(get: Get, base_url: str, timeout_ms: float) -> list[ModelDetails]:
    """The server's models, from the listing that tells most of those that it has.

    Raises:
        LMStudioError: the server cannot be reached, or has no listing: then how the last of them failed.
    """
    root = base_url.removesuffix("/v1")
    *better, last = LISTINGS
    began = perf_counter()

    async def listed(path: str, shape: type[Listing]) -> list[ModelDetails]:
        left = timeout_ms - (perf_counter() - began) * 1000
        return _decoded(await get(root + path, max(left, 1)), shape)

    for path, shape in better:
        try:
            return await listed(path, shape)
        except LMStudioError as error:
            if error.status is None:  # nobody answered, and nobody will at another path
                raise
    return await listed(*last)


async def load_model(post: Post, base_url: str, model: str, context_length: int | None, timeout_ms: float) -> None:
    """Has the server load a model; needs LM Studio 0.4.0 or later.

    Source: https://lmstudio.ai/docs/developer/rest/load

    Raises:
        LMStudioError: it could not, or did not tell within the time limit.
    """
    wanted = {"model": model} if context_length is None else {"model": model, "context_length": context_length}
    url = f"{base_url.removesuffix('/v1')}/api/v1/models/load"
    status, body = await post(url, msgspec.json.encode(wanted), timeout_ms)
    if status >= 300:
        raise failure(status, body, {})
    if b'"loaded"' not in body:  # an older server answers 200 to every route that it does not know
        raise failure_in_success(body, why="it does not say that the model is loaded")


def _decoded(answer: tuple[int, bytes], shape: type[Listing]) -> list[ModelDetails]:
    status, body = answer
    if status >= 300:
        raise failure(status, body, {})
    return decode_listing(body, shape)
