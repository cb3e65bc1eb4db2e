from __future__ import annotations

from typing import Any

import pytest

from neuroroute import LMStudioAdapter, tool
from neuroroute.options import CONCERNS
from neuroroute.requests import ChatRequest
from neuroroute.wire.identity import request_key, way_of


@tool
def look(city: str) -> str:
    """Looks at a city."""
    return city


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
OTHER: dict[str, Any] = {
    "max_tokens": 5,
    "temperature": 0,
    "top_p": 0.5,
    "frequency_penalty": 1,
    "presence_penalty": 1,
    "stop": "x",
    "reasoning": "low",
    "salvage": False,
    "seed": 1,
    "top_k": 1,
    "min_p": 0.1,
    "repeat_penalty": 1.1,
    "logit_bias": {"5": 1},
    "draft_model": "small",
    "extra": {"a": 1},
    "extra_headers": {"X-Tenant": "a"},
    "api": "responses",
    "integrations": ["mcp/playwright"],
    "store": False,
    "context_length": 100,
    "needs": {"vision"},
    "strict": True,
}
"""Another value than the default of every option that changes the answer."""
SAME: dict[str, Any] = {
    "timeout_ms": 5,
    "idle_timeout_ms": 5,
    "total_timeout_ms": 5,
    "first_token_timeout_ms": 5,
    "connect_timeout_ms": 5,
    "max_retries": 0,
    "initial_backoff": 5,
    "model_loading_timeout_ms": 5,
    "priority": "low",
    "hedge_after_ms": 5,
    "continue_stream": True,
    "on_overflow": "trim",
    "strict_model": True,
    "ttl": 5,
}
"""... and of every one that changes how it goes there."""
MADE_OF_IT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "before"}],
    "system_message": "Be brief.",
    "tools": [look],
    "functions": [look.definition.function],
    "response_format": SCHEMA,
    "model": "qwen3-8b",
}
"""What becomes part of the request: another request."""


def made(prompt: str = "hi", *, streaming: bool = False, **options: Any) -> ChatRequest:
    native = {"api": "native"} if options.keys() & {"integrations", "store", "context_length"} else {}
    return LMStudioAdapter("llama3")._request("verb", prompt, None, {**native, **options}, streaming=streaming)


def test_every_option_is_placed() -> None:
    """Each option changes the answer, or the way to it, or becomes part of the request or is done with here."""
    here = {
        *MADE_OF_IT,
        "tool_choice",
        "function_call",
        "reask",
        "previous",
        "merge_roles",
        "cache_mode",
        "on_progress",
    }
    assert {name for name, concern in CONCERNS.items() if concern == "answer"} == {*OTHER}
    assert {name for name, concern in CONCERNS.items() if concern == "way"} == {*SAME}
    assert {name for name, concern in CONCERNS.items() if concern == "here"} == here


@pytest.mark.parametrize("name", [*OTHER, *MADE_OF_IT])
def test_what_changes_the_answer_changes_the_key(name: str) -> None:
    """Another value of such an option, other messages or other tools are another request."""
    plain = made(api="native") if name in ("integrations", "store", "context_length") else made()
    assert request_key(made(**{name: ({**OTHER, **MADE_OF_IT})[name]})) != request_key(plain)


@pytest.mark.parametrize("name", SAME)
def test_what_changes_the_way_does_not(name: str) -> None:
    """Limits and retries are no part of the key, but those who share an answer in the air have the same."""
    other = made(**{name: SAME[name]})
    assert request_key(other) == request_key(made())
    assert way_of(other) != way_of(made())


def test_streaming_is_one_way() -> None:
    """A stream and a whole answer have one key, and are not shared in the air."""
    assert request_key(made(streaming=True)) == request_key(made())
    assert way_of(made(streaming=True)) != way_of(made())


def test_a_choice_of_tools_counts() -> None:
    """What must be called, and in which form that is told, is part of the request."""
    keys = {
        request_key(request)
        for request in (
            made(tools=[look]),
            made(tools=[look], tool_choice="required"),
            made(tools=[look], tool_choice="none"),
            made(functions=[look.definition.function]),
        )
    }
    assert len(keys) == 4
    assert request_key(made(tools=[look], tool_choice="none")) == request_key(made())


def test_the_ends_of_messages_count() -> None:
    """The same text, cut into messages elsewhere, is another request."""
    one = made("", messages=[{"role": "user", "content": "ab"}, {"role": "user", "content": "c"}])
    other = made("", messages=[{"role": "user", "content": "a"}, {"role": "user", "content": "bc"}])
    assert request_key(one) != request_key(other)
    assert request_key(made("hi")) == request_key(made("", messages=[{"role": "user", "content": "hi"}]))


def test_a_key_tells_no_text() -> None:
    """A key is 64 hexadecimal digits, whatever was asked."""
    assert set(request_key(made("a secret"))) <= set("0123456789abcdef")
    assert len(request_key(made("a secret" * 1000))) == 64
