"""The catalogue of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from neuroroute.simulator import CATALOGUE, ErrorCase, Simulator


def test_names_are_unique() -> None:
    """A case is known by its name."""
    assert len({case.name for case in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("case", CATALOGUE, ids=str)
def test_a_case_has_the_envelope_of_its_endpoint(case: ErrorCase) -> None:
    """Chat and embeddings use a string or an object, responses and native always an object."""
    error = json.loads(case.body)["error"]
    if case.endpoint in ("responses", "native"):
        assert set(error) == {"message", "type", "param", "code"}
    assert case.message == (error if isinstance(error, str) else error["message"])
    assert 400 <= case.status <= 500


@pytest.mark.parametrize("case", [case for case in CATALOGUE if case.endpoint == "chat"], ids=str)
async def test_a_case_is_answered_word_for_word(server: Simulator, client: Any, case: ErrorCase) -> None:
    """What is sent is the case's status and exactly its bytes."""
    server.fail(case)
    async with client.chat(server) as response:
        assert (response.status, await response.read()) == (case.status, case.body)
        assert response.content_type == "application/json"


def test_one_case_is_pretty_printed() -> None:
    """Object bodies may come over several lines: the same error, other bytes."""
    plain, pretty = (case for case in CATALOGUE if case.name.startswith("unknown_model") and "0_3_5" not in case.name)
    assert b"\n" in pretty.body
    assert json.loads(plain.body) == json.loads(pretty.body)
