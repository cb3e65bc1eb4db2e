"""``POST /v1/completions``: the model goes on with a text, without any template. Pure: nothing is sent here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from neuroroute.simulator.answers import Refused
from neuroroute.simulator.chat import failed, framed, last_events
from neuroroute.simulator.delivery import Events
from neuroroute.simulator.wordings import PROMPT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neuroroute.simulator.chat import Completion


def read(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request as one to chat.

    Raises:
        Refused: The prompt is no text.
    """
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise Refused(PROMPT)
    return {**body, "messages": [{"role": "user", "content": prompt}]}


def body(completion: Completion) -> dict[str, Any]:
    """The answer in one body."""
    completion = _raw(completion)
    text = "".join(completion.content_chunks)
    return {
        **_chunk(completion, text, finish_reason=completion.finish_reason),
        "usage": completion.usage,
        "stats": completion.answer.stats,
    }


def events(completion: Completion, also: Mapping[str, Any] | None = None) -> Events:
    """The answer as a stream of events; ``also`` stands beside the finish reason."""
    completion = _raw(completion)
    chunks = [_chunk(completion, piece) for piece in completion.content_chunks]
    return Events(
        [framed(completion, msgspec.json.encode(chunk)) for chunk in chunks],
        last_events(completion, _chunk(completion, "", finish_reason=completion.finish_reason), also or {}),
        partial(failed, completion),
    )


def _raw(completion: Completion) -> Completion:
    """Nobody parses what the model says: a think block is text as all else, and there are no calls."""
    return replace(completion, answer=replace(completion.answer, reasoning_form="think", tool_calls=()))


def _chunk(completion: Completion, text: str, *, finish_reason: str | None = None) -> dict[str, Any]:
    return {
        "id": completion.id,
        "object": "text_completion",
        "created": completion.created,
        "model": completion.model,
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}],
    }
