from __future__ import annotations

import pytest

from neuroroute import ConfigurationError, LMStudioAdapter, LMStudioError
from neuroroute.details import same_model
from neuroroute.simulator import Fail, Simulator


@pytest.mark.parametrize(
    ("asked", "answered", "same"),
    [
        ("llama3", "llama3", True),
        ("Llama3", "llama3", True),
        ("llama3", "llama3:2", True),
        ("llama3:2", "llama3:2", True),
        ("llama3:2", "llama3", False),
        ("qwen3-8b", "qwen/qwen3-8b", True),
        ("other/qwen3-8b", "qwen/qwen3-8b", False),
        ("llama3", "llama3.1", False),
        ("llama3", "llama3:x", False),
    ],
)
def test_same_model(asked: str, answered: str, same: bool) -> None:
    """Case, an instance number and a publisher left out make no other model; anything else does."""
    assert same_model(asked, answered) is same


@pytest.mark.parametrize(
    ("surfaces", "source"), [(("v1", "v0"), "v1"), (("v0",), "v0"), ((), "openai")], ids=["v1", "v0", "openai"]
)
async def test_the_listing_that_tells_most(lmstudio: Simulator, surfaces: tuple[str, ...], source: str) -> None:
    """Native v1, else v0, else /v1/models: one type comes back, and says which it was."""
    lmstudio.surfaces = surfaces  # type: ignore[assignment]
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        models = await adapter.list_models()
    assert {model.source for model in models} == {source}
    llama = next(model for model in models if model.key == "llama3")
    assert llama.loaded is (None if source == "openai" else True)
    assert llama.kind == ("unknown" if source == "openai" else "llm")
    if source != "openai":
        assert llama.instances[0].context_length == 4096


async def test_a_server_without_a_listing(lmstudio: Simulator) -> None:
    """What answers but is no LM Studio is told by its own error."""
    async with LMStudioAdapter("llama3", base_url=f"{lmstudio.origin}/wrong") as adapter:
        with pytest.raises(ConfigurationError, match="Unexpected endpoint"):
            await adapter.list_models()


@pytest.mark.parametrize(
    ("model", "there"),
    [("llama3", True), ("LLAMA3", True), ("qwen3-8b", True), ("gpt-9", False)],
    ids=["loaded", "any case", "loadable", "unknown"],
)
async def test_availability(lmstudio: Simulator, model: str, there: bool) -> None:
    """A model that is listed, loaded or loadable, is available; no completion is run to find out."""
    async with LMStudioAdapter(model, base_url=lmstudio.url) as adapter:
        assert await adapter.is_available() is there
    assert {received.method for received in lmstudio.requests} == {"GET"}


async def test_availability_never_raises() -> None:
    """A server that is down is an answer, not an error."""
    async with LMStudioAdapter("llama3", base_url="127.0.0.1:9") as adapter:
        assert await adapter.is_available() is False
        with pytest.raises(LMStudioError):
            await adapter.list_models()


async def test_a_token_that_is_missing(lmstudio: Simulator) -> None:
    """A listing that asks for a token says so."""
    lmstudio.api_token = "sk-lm-a:b"
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        with pytest.raises(LMStudioError, match="API token is required"):
            await adapter.list_models()


async def test_a_listing_that_is_broken(lmstudio: Simulator) -> None:
    """One listing that fails leaves it to the next."""
    lmstudio.fail(Fail(500, b"oops"), path="/api/v1/models")
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        assert {model.source for model in await adapter.list_models()} == {"v0"}
