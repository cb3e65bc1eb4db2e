from __future__ import annotations

import json
from typing import Any

import pytest

from neuroroute import LMStudioAdapter
from neuroroute.wire.counting import asked_count, counted


def test_a_text_and_a_request_are_asked_for() -> None:
    """A text is counted as it is, a request with all that it sends."""
    request = LMStudioAdapter("llama3")._request("verb", "hi", None, {}, streaming=False)
    assert asked_count(request) == ("/v1/chat/completions/input_tokens", request.body)
    path, body = asked_count('one "two"')
    assert (path, json.loads(body)) == ("/tokenize", {"content": 'one "two"'})


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"tokens":[1,2,3]}', 3),
        (b'{"tokens":[]}', 0),
        (b'{"tokens":[{"id":1,"piece":"a"}]}', 1),
        (b'{"input_tokens":92,"object":"response.input_tokens"}', 92),
        (b'{"input_tokens":0}', None),
        (b'{"input_tokens":-1}', None),
        (b'{"input_tokens":"92"}', None),
        (b'{"error":"Unexpected endpoint or method. (POST /tokenize)"}', None),
        (b"[]", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_a_count_is_read(body: bytes, count: Any) -> None:
    """Both forms of a count are read; anything else is none."""
    assert counted(body) == count
