from __future__ import annotations

import pytest

from neuroroute import (
    ConfigurationError,
    LMStudioAdapter,
    LMStudioError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    SyncLMStudioAdapter,
)
from neuroroute.details import same_model
from neuroroute.simulator import Answer, Fail, Simulator


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


async def test_what_a_model_can_do(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The server's word holds where it says; the details tell who said it."""
    lmstudio.models[0].vision, lmstudio.models[0].tools = True, False
    assert await adapter.get_capabilities() == {"chat", "vision"}
    details = await adapter.get_details()
    assert (details.key, details.source, details.capabilities_source, details.loaded) == (
        "llama3",
        "v1",
        "server",
        True,
    )
    lmstudio.surfaces = ()
    details = await adapter.get_details()
    assert (details.source, details.capabilities_source) == ("openai", "id")
    assert details.capabilities == {"chat", "tool_use"}


async def test_details_without_a_server(adapter: LMStudioAdapter) -> None:
    """A server that is down, or does not have the model, leaves what the id tells; nothing is raised."""
    async with LMStudioAdapter("mistral-7b", base_url="127.0.0.1:9") as down:
        assert await down.get_capabilities() == {"chat", "tool_use"}
    details = await adapter.with_model("qwen2.5-vl-7b").get_details()
    assert (details.key, details.source, details.loaded) == ("qwen2.5-vl-7b", "id", None)
    assert details.capabilities == {"chat", "tool_use", "vision"}


async def test_a_model_is_found_by_how_it_begins(adapter: LMStudioAdapter) -> None:
    """A person's shorter name finds a key; ``auto`` finds the loaded one."""
    assert (await adapter.find_model("qwen")).key == "qwen3-8b"
    assert (await adapter.find_model("auto")).key == "llama3"
    with pytest.raises(ModelNotFoundError, match="Did you mean llama3"):
        await adapter.find_model("lama3")


async def test_auto_is_what_is_loaded(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Details, context and availability of ``auto`` are those of the loaded model, if there is one."""
    auto = adapter.with_model("auto", needs={"tool_use"})
    assert (await auto.get_details()).key == "llama3"
    assert (await auto.context_length(), await auto.is_available()) == (4096, True)
    lmstudio.unload("llama3")
    assert (await auto.get_details()).source == "id"
    assert await auto.is_available() is False


async def test_warming_up(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A model that is not in memory is loaded, without a completion; one that is, is left as it is."""
    steps: list[str] = []
    qwen = adapter.with_model("qwen3-8b")
    for _ in range(2):
        assert (await qwen.warm_up(on_progress=lambda step: steps.append(step.phase))).loaded
    posts = [received.path for received in lmstudio.requests if received.method == "POST"]
    assert (posts, steps) == (["/api/v1/models/load"], ["loading", "loaded"])
    assert (await adapter.with_model("auto").warm_up()).key == "llama3"


def look(where: str) -> str:
    """Looks around."""
    return where


@pytest.mark.parametrize(("surfaces", "ttl"), [(("v0",), None), ((), None), (("v1",), 60)], ids=["v0", "openai", "ttl"])
async def test_warming_up_with_a_token(
    adapter: LMStudioAdapter, lmstudio: Simulator, surfaces: tuple[str, ...], ttl: int | None
) -> None:
    """Where nothing else loads a model, or can say how long it stays, one token is asked for, and no more."""
    lmstudio.surfaces = surfaces  # type: ignore[assignment]
    lmstudio.answer(Answer("", reasoning=""))
    lmstudio.answer(Answer("", reasoning=""))
    qwen = adapter.with_model("qwen3-8b", tools=[look], max_tokens=9000)
    details = await qwen.warm_up(ttl=ttl, timeout_ms=5000)
    assert details.loaded is (None if surfaces == () else True)
    body = next(received.json for received in lmstudio.requests if received.method == "POST")
    assert (body["model"], body["max_tokens"], body.get("ttl"), "tools" in body) == ("qwen3-8b", 1, ttl, False)


async def test_warming_up_what_is_not_there(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A model that is not there is not warmed up by another that answers in its place; wrong values are refused."""
    for surfaces in (("v1",), ("v0",), ()):
        lmstudio.surfaces = surfaces  # type: ignore[assignment]
        with pytest.raises(ModelNotFoundError):
            await adapter.with_model("gpt-9").warm_up()
    for wrong in ({"ttl": 0}, {"timeout_ms": 0}):
        with pytest.raises(ModelInvalidRequestError):
            await adapter.warm_up(**wrong)


def test_models_without_asyncio(lmstudio: Simulator) -> None:
    """The blocking adapter has the same verbs."""
    steps: list[str] = []
    with SyncLMStudioAdapter("qwen3-8b", base_url=lmstudio.url) as adapter:
        assert adapter.load_model(context_length=2048, on_progress=lambda step: steps.append(step.phase)).seconds > 0
        assert adapter.warm_up().context_length == 2048
        assert "reasoning" in adapter.get_capabilities()
        assert (adapter.find_model("qwen").loaded, adapter.get_details().loaded) == (True, True)
        assert adapter.unload_model() == ("qwen3-8b",)
        assert adapter.download_model("llama3").already
    assert steps == ["loading", "loaded"]
