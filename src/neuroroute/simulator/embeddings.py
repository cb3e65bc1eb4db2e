"""``POST /v1/embeddings``: what it takes, and vectors that tell one text from another. Pure: nothing is sent here."""

from __future__ import annotations

import math
import random
import re
from typing import TYPE_CHECKING, Any

from neuroroute.simulator.answers import Refused
from neuroroute.simulator.loosely import as_array
from neuroroute.simulator.wordings import TOKEN_IDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def texts_of(body: Mapping[str, Any]) -> list[str]:
    """The texts that are to be embedded.

    Raises:
        Refused: The input is neither a text nor a list of texts.
    """
    given = body.get("input")
    texts = [given] if isinstance(given, str) else as_array(given)
    if not (isinstance(given, (str, list)) and all(isinstance(text, str) for text in texts)):
        raise Refused(TOKEN_IDS)
    return texts


def truncated(text: str, context: int) -> str:
    """As much of a text as the context takes: its words are its tokens here. Nobody is told what is left out."""
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    return text if len(ends) <= context else text[: ends[context - 1]]


def vector_of(text: str, dimensions: int) -> list[float]:
    """A vector of length 1, the same for the same text in every run."""
    chance = random.Random(text)
    numbers = [chance.uniform(-1, 1) for _ in range(dimensions)]
    length = math.hypot(*numbers)
    return [round(number / length, 8) for number in numbers]


def body(model: str, texts: Sequence[str], dimensions: int, usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """The answer; the real server never counts tokens here."""
    data = [
        {"object": "embedding", "embedding": vector_of(text, dimensions), "index": index}
        for index, text in enumerate(texts)
    ]
    counted = {"prompt_tokens": 0, "total_tokens": 0} if usage is None else usage
    return {"object": "list", "data": data, "model": model, "usage": counted}
