"""The catalogue of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from neuroroute.simulator import CATALOGUE, ErrorCase, Simulator, case_named


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


@pytest.mark.parametrize("case", CATALOGUE, ids=str)
async def test_a_row_is_asked_for_by_its_name(server: Simulator, client: Any, case: ErrorCase) -> None:
    """Every row of the catalogue is answered by its name, on the route that it belongs to, and there only."""
    server.fail(case.name)
    path = {"native": "/api/v1/chat", "responses": "/v1/responses", "embeddings": "/v1/embeddings"}.get(case.endpoint)
    if path is not None:
        assert (await client.whole(server))[0] == 200
    got = await client.post(server, path or "/v1/chat/completions", {"model": "llama3"})
    assert got == (case.status, json.loads(case.body))


def test_an_unknown_name_tells_names_that_are_like_it() -> None:
    """A name that is no row's is the test's mistake, and those that are like it are told."""
    with pytest.raises(ValueError, match=r"'crash_nul'; did you mean crash_null, "):
        Simulator().fail("crash_nul")
    with pytest.raises(ValueError, match=r"named 'xyzzy'$"):
        case_named("xyzzy")


def test_one_case_is_pretty_printed() -> None:
    """Object bodies may come over several lines: the same error, other bytes."""
    plain, pretty = (case for case in CATALOGUE if case.name.startswith("unknown_model") and "0_3_5" not in case.name)
    assert b"\n" in pretty.body
    assert json.loads(plain.body) == json.loads(pretty.body)
