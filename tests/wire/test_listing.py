from __future__ import annotations

from typing import Any

import msgspec
import pytest

from neuroroute import LMStudioError, ModelDetails
from neuroroute.details import ListingSource
from neuroroute.wire.listing import decode_listing, greets


def v1(**more: Any) -> ModelDetails:
    return decode_listing(msgspec.json.encode({"models": [{"key": "llama3", "type": "llm", **more}]}), "v1")[0]


def v0(**more: Any) -> ModelDetails:
    return decode_listing(msgspec.json.encode({"data": [{"id": "llama3", **more}]}), "v0")[0]


def test_the_server_s_word_wins() -> None:
    """What the listing says a model can do holds, whatever its id suggests; what it leaves out, the id tells."""
    model = v1(capabilities={"vision": True, "trained_for_tool_use": False})
    assert model.capabilities == {"chat", "vision"}
    assert (model.lacks("tool_use"), model.lacks("reasoning"), model.lacks("vision")) == (True, False, False)
    assert model.capabilities_source == "server"
    bare = v1()
    assert bare.capabilities == {"chat", "tool_use"}
    assert not bare.lacks("vision")


@pytest.mark.parametrize(
    ("options", "can", "lacks"), [(["off", "on"], True, False), (["low"], True, False), (["off"], False, True)]
)
def test_reasoning_is_told_by_its_settings(options: list[str], can: bool, lacks: bool) -> None:
    """A model that lists another setting than "off" reasons; that none is listed says nothing."""
    model = v1(capabilities={"reasoning": {"allowed_options": options, "default": options[0]}})
    assert ("reasoning" in model.capabilities, model.lacks("reasoning")) == (can, lacks)
    assert model.reasoning_options == tuple(options)


def test_an_embedding_model_does_nothing_else() -> None:
    """A model that is listed as one for embeddings lacks all else, whatever it is called."""
    model = v1(type="embedding")
    assert model.capabilities == {"embedding"}
    assert model.lacks("tool_use")
    assert model.lacks("chat")


def test_v0_tells_less() -> None:
    """The older listing tells vision by the type, and tools only where it has a list of capabilities."""
    assert v0(type="vlm").capabilities == {"chat", "tool_use", "vision"}
    silent, told = v0(type="llm"), v0(type="llm", capabilities=[])
    assert (silent.lacks("tool_use"), told.lacks("tool_use"), told.lacks("vision")) == (False, True, True)
    assert "tool_use" in v0(type="llm", capabilities=["tool_use"]).told


def test_ids_alone_tell_nothing() -> None:
    """Of a listing of ids all is detected, and nothing counts as the server's word."""
    model = decode_listing(b'{"data":[{"id":"llama3"}]}', "openai")[0]
    assert (model.capabilities, model.told, model.capabilities_source) == ({"chat", "tool_use"}, frozenset(), "id")
    assert not model.lacks("vision")


def test_how_a_copy_was_loaded() -> None:
    """All of a copy's configuration is kept, whatever the engine has; oddities in it do no harm."""
    copy = {"id": "llama3", "config": {"context_length": 4096, "parallel": "many", "new": [1]}}
    model = v1(loaded_instances=[copy, {"id": "llama3:2"}])
    first, second = model.instances
    assert (first.context_length, first.parallel, first.config["new"]) == (4096, None, [1])
    assert (second.config, model.loaded, model.context_length) == ({}, True, 4096)


@pytest.mark.parametrize("source", ["v1", "v0", "openai"])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"models":1,"data":1}', b'{"error":"Unexpected endpoint"}'])
def test_what_is_no_listing(source: ListingSource, body: bytes) -> None:
    """A body that is no listing is a typed error."""
    with pytest.raises(LMStudioError):
        decode_listing(body, source)


@pytest.mark.parametrize(
    ("status", "body", "is_lm_studio"),
    [
        (200, b'{"lmstudio":true}', True),
        (200, b'{"error":"Unexpected endpoint"}', False),
        (200, b"<html>", False),
        (404, b'{"lmstudio":true}', False),
    ],
)
def test_who_greets(status: int, body: bytes, is_lm_studio: bool) -> None:
    """Only LM Studio's own greeting tells it from others."""
    assert greets(status, body) is is_lm_studio


def test_the_state_is_a_word_of_its_own() -> None:
    """Whether a model is in memory is told as a word, too; where the listing does not tell, as that."""
    states = [ModelDetails(key="m", source="v1", loaded=loaded).state for loaded in (True, False, None)]
    assert states == ["loaded", "not_loaded", "unknown"]
