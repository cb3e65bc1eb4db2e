from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import LMStudioError, TokenUsage
from neuroroute.responses import fold
from neuroroute.wire.embeddings import EmbeddingsDecoder


def decoder(count: int) -> EmbeddingsDecoder:
    return EmbeddingsDecoder(lambda chunk: None, count)


def body(vectors: list[list[float]], **more: Any) -> bytes:
    data = [{"object": "embedding", "embedding": vector, "index": at} for at, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "data": data, "model": "m", **more}).encode()


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.integers(1, 4).flatmap(lambda size: st.lists(st.lists(FLOATS, min_size=size, max_size=size), min_size=1)))
def test_numbers_come_back_exactly(vectors: list[list[float]]) -> None:
    """Vectors of any numbers are decoded as they were, in the order of their places whatever the order they came in."""
    told = json.loads(body(vectors))
    for data in (told["data"], told["data"][::-1]):
        answer = decoder(len(vectors))
        answer.whole(json.dumps({**told, "data": data}).encode())
        assert answer.vectors == vectors
    assert (answer.model, answer.began, answer.complete) == ("m", True, True)


def test_places_may_be_missing() -> None:
    """Where no vector says its place, they are in order; whole numbers are numbers, too."""
    answer = decoder(2)
    answer.whole(b'{"data":[{"embedding":[1,2]},{"embedding":[3,4]}],"usage":{"prompt_tokens":5}}')
    assert (answer.vectors, answer.usage) == ([[1.0, 2.0], [3.0, 4.0]], TokenUsage(prompt=5, total=5))
    assert bytes(answer.raw(fold([]))).startswith(b'{"data"')


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"{}", b"[]", b'{"data":null}', b'{"data":[{}]}', b'{"data":[{"embedding":"AAAA"}]}',
        b'{"data":[{"embedding":[1]},{"embedding":[2]},{"embedding":[3]}]}',
        b'{"data":[{"embedding":[1],"index":0},{"embedding":[2],"index":0}]}',
        b'{"data":[{"embedding":[1],"index":0},{"embedding":[2],"index":7}]}',
        b'{"data":[{"embedding":[1]},{"embedding":[2,3]}]}',
        b'{"data":[{"embedding":[]},{"embedding":[]}]}',
        b'{"data":[{"embedding":[1]},{"embedding":["x"]}]}',
        b'{"data":[{"embedding":[1]},{"embedding":[2]}],"error":"no"}',
        b'{"error":"Unexpected endpoint or method. (POST /embeddings)"}',
    ],
)  # fmt: skip
def test_what_are_no_vectors_is_refused(wrong: bytes) -> None:
    """Anything but one vector of one length for each text is one of our errors."""
    with pytest.raises(LMStudioError):
        decoder(2).whole(wrong)


def test_a_stream_is_refused() -> None:
    """Nobody streams embeddings."""
    with pytest.raises(LMStudioError, match="stream"):
        decoder(1).events([body([[1.0]])])
