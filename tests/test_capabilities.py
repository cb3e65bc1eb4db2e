from __future__ import annotations

import pytest

from neuroroute.capabilities import CAPABILITIES, billions, detected


@pytest.mark.parametrize(
    ("model_id", "can"),
    [
        ("llama3", "chat tool_use"),
        ("Meta_Llama 3.1-8B-Instruct", "chat tool_use"),
        ("llama-3.2-11b-vision-instruct", "chat tool_use vision"),
        ("llama-2-7b-chat", "chat"),
        ("tinyllama-1.1b-chat", "chat"),
        ("mistral-7b-instruct-v0.3", "chat tool_use"),
        ("mistral-small-24b-instruct-2501", "chat tool_use"),
        ("mistralai/mistral-small-3.2", "chat tool_use vision"),
        ("mistralai/devstral-small-2507", "chat code tool_use"),
        ("magistral-small-2509", "chat reasoning tool_use vision"),
        ("claude-3-haiku", "chat code tool_use vision"),
        ("claude-sonnet-4-5", "chat code reasoning tool_use vision"),
        ("qwen-7b-chat", "chat"),
        ("qwen2.5-coder-0.5b-instruct", "chat code tool_use"),
        ("qwen/qwen3-8b", "chat reasoning tool_use"),
        ("qwen/qwen3-4b-2507", "chat tool_use"),
        ("qwen/qwen3-4b-thinking-2507", "chat reasoning tool_use"),
        ("qwen/qwen3-vl-8b", "chat reasoning tool_use vision"),
        ("deepseek-r1-distill-qwen-7b", "chat reasoning"),
        ("openai/gpt-oss-20b", "chat reasoning tool_use"),
        ("gemma-3-1b-it", "chat"),
        ("gemma-3-270m-it", "chat"),
        ("google/gemma-3-4b", "chat vision"),
        ("google/gemma-3", "chat vision"),
        ("codellama-7b", "chat code"),
        ("text-embedding-nomic-embed-text-v1.5", "embedding"),
        ("qwen3-embedding-0.6b", "embedding"),
        ("multilingual-e5-large", "embedding"),
        ("bge-reranker-v2-m3", ""),
        ("somebody/something-new", "chat"),
    ],
)
def test_what_an_id_tells(model_id: str, can: str) -> None:
    """Family and size tell what a model can do, with or without its publisher, in any case."""
    assert " ".join(sorted(detected(model_id))) == can


@pytest.mark.parametrize(
    ("model_id", "size"),
    [("gemma-3-270m-it", 0.27), ("qwen3-30b-a3b", 30), ("qwen2.5-0.5b", 0.5), ("gemma-3n-e4b", 4), ("llama3", None)],
)
def test_sizes(model_id: str, size: float | None) -> None:
    """The size is the number of all parameters, not of the active ones, and no version."""
    assert billions(model_id) == size


def test_all_that_is_detected_has_a_name() -> None:
    """The table knows no capability beside the six."""
    assert set(CAPABILITIES) == {"tool_use", "vision", "reasoning", "embedding", "chat", "code"}
    assert detected("claude-sonnet-4-5") | detected("bge-m3") == set(CAPABILITIES)
