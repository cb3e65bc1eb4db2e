from __future__ import annotations

import pytest

from neuroroute import LMStudioError, ModelDetails, ModelInstance, ModelNotFoundError, ModelUnavailableError
from neuroroute.selection import choose, find, named


def model(key: str, *copies: str, told: dict[str, bool] | None = None, loaded: bool | None = False) -> ModelDetails:
    instances = tuple(ModelInstance(id=copy) for copy in copies)
    return ModelDetails.listed(
        key=key,
        told={"chat": True, "embedding": False, **(told or {})},
        source="v1",
        loaded=bool(copies) or loaded,
        instances=instances,
    )


EMBEDDER = ModelDetails.listed(
    key="text-embedding-x", told={"embedding": True, "chat": False}, source="v1", loaded=True
)
SHELF = [
    EMBEDDER,
    model("llama3", "llama3", "llama3:2"),
    model("qwen/qwen3-8b"),
    model("qwen/qwen3-coder-30b"),
    model("Big-Model"),
]


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ("llama3", "llama3"),
        ("LLAMA3", "llama3"),
        ("big-model", "Big-Model"),
        ("llama3:2", "llama3"),
        ("qwen3-8b", "qwen/qwen3-8b"),
    ],
    ids=["key", "any case", "key in capitals", "copy", "without the publisher"],
)
def test_what_a_name_means(asked: str, key: str) -> None:
    """A key, in any case, a copy's id, and a key without its publisher are names of a model."""
    assert named(SHELF, asked).key == find(SHELF, asked).key == key


@pytest.mark.parametrize(
    ("asked", "key"), [("big", "Big-Model"), ("qwen3-c", "qwen/qwen3-coder-30b"), ("qwen/qwen3-8", "qwen/qwen3-8b")]
)
def test_how_a_key_begins(asked: str, key: str) -> None:
    """Only what a person asks for is taken by its beginning, with or without the publisher."""
    assert find(SHELF, asked).key == key
    with pytest.raises(ModelNotFoundError):
        named(SHELF, asked)


def test_a_whole_name_wins_over_a_beginning() -> None:
    """A key that begins another is itself."""
    shelf = [model("a-big"), model("a")]
    assert find(shelf, "a").key == "a"


def test_several_that_begin_so() -> None:
    """A beginning that fits several is an error that names them."""
    with pytest.raises(ModelNotFoundError, match="'qwen' may mean qwen/qwen3-8b, qwen/qwen3-coder-30b"):
        find(SHELF, "qwen")
    with pytest.raises(ModelNotFoundError, match="may mean a/x, b/x"):
        named([model("a/x"), model("b/x")], "x")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("lama3", "Did you mean llama3?"),
        ("qwen3-8", "Did you mean qwen/qwen3-8b"),
        ("zzz", "It has text-embedding-x, llama3"),
        ("", "It has text-embedding-x, llama3"),
    ],
)
def test_a_miss_names_what_is_near(asked: str, hint: str) -> None:
    """Whoever asks for what is not there is told what is like it, else what there is."""
    with pytest.raises(ModelNotFoundError) as caught:
        named(SHELF, asked)
    assert hint in str(caught.value)


def test_an_empty_shelf() -> None:
    """A server without a model says so, and a long list is cut."""
    with pytest.raises(ModelNotFoundError, match="Download one"):
        find([], "x")
    with pytest.raises(ModelNotFoundError, match="m7 and 12 more"):
        find([model(f"m{number}") for number in range(20)], "zzz")


def test_the_loaded_one_is_chosen() -> None:
    """Of all that can chat the loaded one is taken, by the id of its first copy, without a note."""
    choice = choose(SHELF)
    assert (choice.model_id, choice.note) == ("llama3", None)
    assert choose([EMBEDDER, model("b", "b:2", "b:3")]).model_id == "b:2"


def test_the_first_of_several_is_chosen() -> None:
    """Where several are loaded the first in the listing is taken, and a note names the others."""
    choice = choose([model("b", "b"), model("a", "a"), EMBEDDER])
    assert choice.model_id == "b"
    assert choice.note is not None
    assert (choice.note.code, "too: a" in choice.note.message) == ("MODEL_CHOSEN", True)


def test_the_one_that_can_is_chosen() -> None:
    """What is needed leaves out those that cannot; the server's word wins over the id's."""
    deaf, able = model("llama3", "llama3", told={"tool_use": False}), model("x", "x", told={"tool_use": True})
    assert choose([deaf, able], {"tool_use"}).model_id == "x"
    with pytest.raises(ModelUnavailableError, match="no model is loaded that has tool_use; loaded: llama3"):
        choose([deaf, EMBEDDER], {"tool_use"})


def test_where_nobody_tells_what_is_loaded() -> None:
    """A listing of mere ids is taken as it is: the first that can chat."""
    ids = [ModelDetails.listed(key=key, told={}, source="openai") for key in ("nomic-embed-text", "llama3")]
    assert choose(ids).model_id == "llama3"


@pytest.mark.parametrize(
    ("models", "hint"),
    [
        ([EMBEDDER, model("a"), model("b")], "Load one: a, b"),
        ([EMBEDDER], "Download one that can chat"),
        ([], "none is loaded at all"),
    ],
)
def test_none_to_choose(models: list[ModelDetails], hint: str) -> None:
    """Where none is loaded the error says what there is, what to do, and that a retry is in vain."""
    with pytest.raises(LMStudioError) as caught:
        choose(models)
    assert hint in str(caught.value)
    assert caught.value.retryable is False
