from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conftest import FakeClock
from neuroroute import (
    Embeddings,
    LMStudioAdapter,
    LMStudioError,
    MalformedResponseError,
    ModelContextLengthError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
    ModelUnavailableError,
    SyncLMStudioAdapter,
    TokenUsage,
)
from neuroroute.simulator import Answer, Fail, SimulatedModel, Simulator, case_named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOMIC = "text-embedding-nomic-embed-text-v1.5"
PATH = "/v1/embeddings"


@pytest.fixture
async def embedder(lmstudio: Simulator, clock: FakeClock) -> AsyncIterator[LMStudioAdapter]:
    async with LMStudioAdapter(NOMIC, base_url=lmstudio.url, clock=clock) as made:
        yield made


def sent(lmstudio: Simulator) -> list[Any]:
    return [request.json["input"] for request in lmstudio.requests if request.path == PATH]


async def test_one_vector_for_each_text_in_order(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Many texts go out in batches and come back in their order, the same vector for the same text."""
    texts = [f"text {number % 5}" for number in range(11)]
    result = await embedder.embed(iter(texts), batch_size=4)
    assert sent(lmstudio) == [texts[:4], texts[4:8], texts[8:]]
    assert (len(result), len({len(vector) for vector in result}), result[-1]) == (11, 1, result.vectors[-1])
    assert result[0] == result[5] == result[10]
    assert result[0] != result[1]
    assert [(await embedder.embed(text))[0] for text in texts[:2]] == result.vectors[:2]
    assert (result.model, result.host, result.attempts) == (NOMIC, f"127.0.0.1:{lmstudio.port}", 3)
    assert (result.tokens.prompt, result.tokens.estimated, result.notes) == (22, True, ())
    assert result.processing_time > 0


async def test_what_counts_is_taken(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """LM Studio counts no tokens here; of a server that does, the counts of all batches are added."""
    lmstudio.answer(Answer(usage={"prompt_tokens": 3, "total_tokens": 3}), times=2, path=PATH)
    assert (await embedder.embed(["a", "b"], batch_size=1)).tokens == TokenUsage(prompt=6, total=6)


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([], "texts is empty"),
        (5, "must be a text or a list of texts, not a int"),
        (b"abc", "not a bytes"),
        ({"a": 1}, "not a dict"),
        ("", r"texts\[0\] is an empty text"),
        (["a", ""], r"texts\[1\] is an empty text"),
        (["a", 5], r"texts\[1\] is a value of type int"),
        (["a", [1, 2]], r"texts\[1\] is a value of type list"),
        (["a", "b", "\ud800"], r"texts\[2\] holds a lone surrogate"),
    ],
)
async def test_bad_texts_are_refused(embedder: LMStudioAdapter, lmstudio: Simulator, texts: Any, why: str) -> None:
    """What is no text, or empty, is named by its place, and nothing is sent."""
    with pytest.raises(ModelInvalidRequestError, match=why):
        await embedder.embed(texts)
    assert sent(lmstudio) == []


async def test_bad_options_are_refused(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Batch size and limits are checked; options of answers are none of this verb."""
    for wrong in (0, 1.5, True, "4"):
        size: Any = wrong
        with pytest.raises(ModelInvalidRequestError, match="batch_size"):
            await embedder.embed("a", batch_size=size)
    with pytest.raises(ModelInvalidRequestError, match="timeout_ms"):
        await embedder.embed("a", timeout_ms=-1)
    with pytest.raises(ModelInvalidRequestError, match="model"):
        await embedder.embed("a", model="")
    with pytest.raises(TypeError, match="temperature"):
        await embedder.embed("a", temperature=1)  # type: ignore[call-arg]
    assert lmstudio.requests == []


async def test_each_batch_goes_down_the_pipe(embedder: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock) -> None:
    """A batch that fails is retried alone; what no retry helps is raised with model and host."""
    lmstudio.answer(Answer(), path=PATH)
    lmstudio.fail(Fail(503), path=PATH)
    result = await embedder.embed(["a", "b", "c"], batch_size=1)
    assert (len(result), result.attempts, len(clock.slept)) == (3, 4, 1)
    lmstudio.fail(Fail(401, {"error": "no"}), path=PATH)
    with pytest.raises(LMStudioError) as caught:
        await embedder.embed("a")
    assert (caught.value.model, caught.value.host) == (NOMIC, f"127.0.0.1:{lmstudio.port}")
    assert caught.value.code == "MODEL_AUTHENTICATION"


async def test_a_batch_has_a_deadline(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A server that is silent is waited for no longer than timeout_ms."""
    lmstudio.models[:] = [SimulatedModel(NOMIC, type="embedding", loaded=True)]
    lmstudio.fail(Fail(silent="hang"), path=PATH)
    with pytest.raises(ModelTimeoutError, match="timeout_ms=50"):
        await embedder.embed("a", timeout_ms=50, max_retries=0)


async def test_texts_that_will_be_cut_are_told(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The server cuts what is longer than the context without a word: a note names the texts, strict refuses them."""
    lmstudio.models[:] = [SimulatedModel(NOMIC, type="embedding", loaded=True, context_length=10)]
    texts = ["short", "long " * 20, "short", *["long " * 20] * 6]
    result = await embedder.embed(texts, batch_size=2)
    (note,) = result.notes
    assert note.code == "TEXT_TRUNCATED"
    assert "texts[1], texts[3], texts[4], texts[5], texts[6] and 2 more: longer" in note.message
    assert "10 tokens" in note.message
    before = len(sent(lmstudio))
    with pytest.raises(ModelContextLengthError, match=r"texts\[1\]") as caught:
        await embedder.embed(texts, strict=True)
    assert (caught.value.context_length, caught.value.prompt_tokens) == (10, 25)
    assert len(sent(lmstudio)) == before


async def test_a_model_that_answers_makes_no_embeddings(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An LLM is refused before anything is sent, with the models that would do; else by the server's own words."""
    with pytest.raises(ModelInvalidRequestError, match="makes no embeddings") as caught:
        await adapter.embed("a")
    assert NOMIC in caught.value.hint
    assert sent(lmstudio) == []
    lmstudio.fail(Fail(503), path="/api/v1/models")
    lmstudio.fail(case_named("embeddings_by_llm"))
    with pytest.raises(ModelInvalidRequestError) as said:
        await adapter.with_model("unheard-of").embed("a")
    assert "embed(model=...)" in said.value.hint


async def test_auto_takes_a_model_for_embeddings(lmstudio: Simulator) -> None:
    """Auto is the embedding model that is loaded, else the first; of several a note tells; none is an error."""
    async with LMStudioAdapter("auto", base_url=lmstudio.url) as adapter:
        assert (await adapter.embed("a")).model == NOMIC
    lmstudio.models[:] = [SimulatedModel("e1", type="embedding"), SimulatedModel("e2", type="embedding", loaded=True)]
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        result = await adapter.embed("a", model="auto")
    assert (result.model, [note.code for note in result.notes]) == ("e2", ["MODEL_CHOSEN"])
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True)]
    async with LMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        with pytest.raises(ModelUnavailableError, match="no model for embeddings"):
            await adapter.embed("a", model="auto")


async def test_another_model_that_answers_is_told(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An answer that names another model has a note, or fails with strict_model; a quantization is no other model."""
    lmstudio.answer(Answer(model=f"{NOMIC}@q4_k_m"), path=PATH)
    assert (await embedder.embed("a")).notes == ()
    lmstudio.answer(Answer(model="other"), times=3, path=PATH)
    assert [note.code for note in (await embedder.embed(["a", "b"], batch_size=1)).notes] == ["DIFFERENT_MODEL"]
    with pytest.raises(ModelNotFoundError):
        await embedder.embed("a", strict_model=True)


async def test_a_listing_is_asked_for_once(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Not every call asks what models there are, and a server without a listing embeds all the same."""
    await embedder.embed("a")
    await embedder.embed("b")
    assert len([one for one in lmstudio.requests if one.path == "/api/v1/models"]) == 1
    lmstudio.surfaces = ()
    for path in ("/api/v1/models", "/api/v0/models", "/v1/models"):
        lmstudio.fail(Fail(503), path=path)
    async with LMStudioAdapter(NOMIC, base_url=lmstudio.url) as other:
        assert len(await other.embed("a")) == 1


async def test_what_is_sent(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Model and texts, and the ttl where one was given; options of answers that are defaults stay away."""
    adapter = embedder.with_model(NOMIC, temperature=0.1, extra={"x": 1}, stop=["."], ttl=60)
    await adapter.embed(["a"])
    request = lmstudio.requests[-1]
    assert request.json == {"model": NOMIC, "input": ["a"], "ttl": 60}


async def test_a_body_that_is_too_large(lmstudio: Simulator) -> None:
    """max_request_bytes holds for each batch."""
    async with LMStudioAdapter(NOMIC, base_url=lmstudio.url, max_request_bytes=200) as adapter:
        with pytest.raises(ModelInvalidRequestError, match="max_request_bytes=200"):
            await adapter.embed(["a" * 150, "b" * 150])
        assert len(await adapter.embed(["a" * 100, "b" * 100], batch_size=1)) == 2


async def test_vectors_that_do_not_fit_are_refused(embedder: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Too few vectors are no answer, and are not taken for those of other texts."""
    body = b'{"data":[{"embedding":[1,2],"index":0}],"model":"m"}'
    lmstudio.answer(Answer(raw_chunks=[body], content_type="application/json"), path=PATH)
    with pytest.raises(MalformedResponseError, match="1 embeddings came for 2 texts"):
        await embedder.embed(["a", "b"], max_retries=0)


def test_it_blocks_too(lmstudio: Simulator) -> None:
    """The blocking adapter has the same verb."""
    with SyncLMStudioAdapter(NOMIC, base_url=lmstudio.url) as adapter:
        result: Embeddings = adapter.embed(["a", "b"])
    assert len(result) == 2
