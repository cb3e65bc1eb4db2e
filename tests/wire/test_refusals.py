from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from neuroroute import ImagePart, LMStudioAdapter, ModelInvalidRequestError, UserMessage
from neuroroute.options import _RULES, DEFAULTS, checked
from neuroroute.wire.refusals import NOT_TAKEN, check_route

if TYPE_CHECKING:
    from neuroroute.simulator import Simulator

FUNCTION = {"name": "f", "parameters": {"type": "object"}}
GOOD: dict[str, Any] = {
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "auto",
    "functions": [FUNCTION],
    "function_call": "auto",
    "response_format": dict,
    "continue_stream": True,
    "reasoning": "off",
    "merge_roles": True,
    "system_message": "Be kind.",
    "frequency_penalty": 1,
    "presence_penalty": 1,
    "stop": "x",
    "seed": 1,
    "logit_bias": {"5": 1},
    "draft_model": "tiny",
    "ttl": 5,
    "top_k": 1,
    "min_p": 0.1,
    "repeat_penalty": 1.1,
    "integrations": ["mcp/x"],
    "context_length": 5,
    "store": False,
}
CASES = [(api, name) for api, names in NOT_TAKEN.items() for name in names if name != "previous"]


@pytest.mark.parametrize(("api", "name"), CASES)
def test_what_a_route_does_not_take_is_refused(lmstudio: Simulator, api: Any, name: str) -> None:
    """The option is named, and a route that takes it; nothing is sent. As a default of the adapter it is, too."""
    adapter = LMStudioAdapter("llama3", base_url=lmstudio.url, system_message=None)
    given: Any = {name: GOOD[name]}
    with pytest.raises(ModelInvalidRequestError, match=f"{name} is not taken by api='{api}'") as caught:
        adapter.stream("hi", api=api, **given)
    assert "ask with api=" in caught.value.hint
    with pytest.raises(ModelInvalidRequestError, match=name):
        adapter.with_model("llama3", **given).stream("hi", api=api)
    assert lmstudio.requests == []


@pytest.mark.parametrize("api", NOT_TAKEN)
def test_defaults_are_taken_everywhere(api: str) -> None:
    """What is not given is not refused, nor is None, nor a value that is the default."""
    check_route({**DEFAULTS, "api": api})
    same = {name: DEFAULTS[name] for name in NOT_TAKEN[api] if DEFAULTS[name] is not None}
    check_route({**DEFAULTS, **checked(same, "test"), "api": api})


def test_every_refused_name_is_an_option() -> None:
    """The table names options, and each of them is taken somewhere."""
    names = {name for refused in NOT_TAKEN.values() for name in refused}
    assert names <= set(_RULES)
    assert all(any(name not in refused for refused in NOT_TAKEN.values()) for name in names)


async def test_a_text_completion_takes_a_prompt_alone(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A history, another role or an image is refused; one message of the user is a prompt."""
    png = ImagePart.of(b"\x89PNG\r\n\x1a\nabc")
    before = await adapter.generate_completion("hi")
    sent = len(lmstudio.requests)
    for messages in (
        [UserMessage(content="a"), UserMessage(content="b")],
        [{"role": "system", "content": "a"}],
        [UserMessage(content=(png,))],
    ):
        with pytest.raises(ModelInvalidRequestError, match="takes a prompt of text alone"):
            adapter.stream(api="completions", messages=messages)  # type: ignore[arg-type]
    with pytest.raises(ModelInvalidRequestError, match="previous is not taken"):
        adapter.stream("hi", api="completions", previous=before)
    assert len(lmstudio.requests) == sent
    response = await adapter.generate_completion(api="completions", messages=[UserMessage(content="a")])
    assert lmstudio.requests[-1].json["prompt"] == "a"
    assert response.text == "You said: a"
