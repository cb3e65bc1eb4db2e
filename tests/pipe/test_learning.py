from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from neuroroute import LMStudioAdapter, LMStudioError, tool
from neuroroute.simulator import Answer, SimulatedModel, Simulator, StreamFault

if TYPE_CHECKING:
    from neuroroute.estimates import TokenEstimate

TEXT = "x" * 400
USAGE = {"prompt_tokens": 208, "completion_tokens": 1, "total_tokens": 209}
COUNTED = Answer("ok", usage={**USAGE, "input_tokens": 208, "output_tokens": 1})


@tool
def look() -> str:
    """Looks."""
    return ""


def learnt(adapter: LMStudioAdapter, model: str = "llama3") -> TokenEstimate:
    return adapter._core.estimates.of(model)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("streaming", [False, True])
async def test_answers_teach(adapter: LMStudioAdapter, lmstudio: Simulator, api: Any, streaming: bool) -> None:
    """What an answer counts, siblings and conversations estimate by; other models are others."""
    lmstudio.answer(COUNTED)
    sibling, other = adapter.with_model("llama3"), adapter.with_model("qwen3-8b")
    chat = sibling.conversation(max_context_tokens=1000)
    if streaming:
        await adapter.stream(TEXT, system_message=None, api=api).whole()
    else:
        await adapter.generate_completion(TEXT, system_message=None, api=api)
    assert learnt(adapter).ratio == 2
    assert (sibling.estimate_tokens(TEXT), other.estimate_tokens(TEXT)) == (200, 100)
    assert chat.budget.room(None) == 500
    assert chat.budget._estimate is learnt(adapter)


async def test_auto_learns_with_its_model(lmstudio: Simulator) -> None:
    """What is learnt of the model that "auto" stands for, is learnt of both names."""
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True)]
    lmstudio.answer(COUNTED)
    async with LMStudioAdapter("auto", base_url=lmstudio.url, system_message=None) as adapter:
        await adapter.generate_completion(TEXT)
        assert learnt(adapter).ratio == learnt(adapter, "auto").ratio == 2


@pytest.mark.parametrize(
    "options",
    [
        {"tools": [look]},
        {"api": "completions"},
        {"extra": {"tools": [{"type": "function", "function": {"name": "look"}}]}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    ],
)
async def test_what_counts_other_things_teaches_nothing(
    adapter: LMStudioAdapter, lmstudio: Simulator, options: Any
) -> None:
    """Schemas of tools, unknown fields, parts of content and bare texts are counted, and are no messages."""
    lmstudio.answer(COUNTED)
    await adapter.generate_completion(TEXT, **{"system_message": None, **options})
    assert learnt(adapter).ratio == 1


async def test_another_model_teaches_nothing(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """What another model than the one asked for counts says nothing of its tokens."""
    lmstudio.answer(Answer("ok", usage={**USAGE}, model="gemma-3"))
    await adapter.generate_completion(TEXT, system_message=None)
    assert learnt(adapter).ratio == 1


async def test_what_is_not_counted_teaches_nothing(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """An answer without a count, and one that broke off, leave the estimate as it is."""
    lmstudio.answer(Answer("ok", usage={}))
    await adapter.generate_completion(TEXT)
    lmstudio.answer(Answer(chunks=["one ", "two"], stream_fault=StreamFault("cut", after=1)))
    with pytest.raises(LMStudioError):
        await adapter.stream(TEXT).whole()
    assert learnt(adapter).ratio == 1
