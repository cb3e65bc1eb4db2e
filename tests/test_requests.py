from __future__ import annotations

import math
from contextlib import suppress
from types import MappingProxyType
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import LMStudioAdapter, ModelInvalidRequestError, RequestOptions
from neuroroute.messages import MessageReader
from neuroroute.options import _RULES, DEFAULTS, checked
from neuroroute.simulator import Simulator
from neuroroute.wire.requesting import chat_request

F: dict[str, Any] = {"function": {"name": "f", "parameters": {}}}
CYCLE: list[Any] = []
CYCLE.append(CYCLE)

BAD = {
    "messages": ["hi", 5],
    "system_message": [5],
    "max_tokens": [0, -2, 1.5, "10", True],
    "temperature": [-0.1, math.nan, math.inf, "warm", True],
    "top_p": [0, 1.1, -1, math.nan],
    "frequency_penalty": [-2.1, 2.1, "x"],
    "presence_penalty": [-2.1, 2.1],
    "stop": ["", [], ["a", ""], [5], 5],
    "timeout_ms": [0, -1, math.inf, math.nan, "60"],
    "idle_timeout_ms": [0],
    "total_timeout_ms": [0],
    "first_token_timeout_ms": [0],
    "connect_timeout_ms": [0],
    "model_loading_timeout_ms": [0, -1, "120"],
    "priority": ["high", 1, True, ["low"]],
    "hedge_after_ms": [0, -1, math.nan, "2"],
    "continue_stream": ["yes", 1],
    "on_overflow": ["cut", True, {}],
    "cache_mode": ["write", True, ["read"]],
    "max_retries": [-1, 1.0, True],
    "initial_backoff": [-1, math.nan],
    "reasoning": ["hard", True, ["low"]],
    "tools": [5, "f", [5], [{}], [{"type": "function", "function": {"name": "f"}}]],
    "tool_choice": ["always", 5, {}, {"type": "function"}, {"function": {"name": ""}}],
    "functions": [5, [5], [{}], [{"name": "f"}], [{"name": "a b", "parameters": {}}]],
    "function_call": ["required", 5, {}, {"name": 5}],
    "response_format": [5, "json", {"type": "xml"}, {}],
    "reask": [-1, 1.5],
    "salvage": [1],
    "merge_roles": ["yes"],
    "api": ["v1", 1, True, ["chat"]],
    "integrations": [
        "mcp/playwright",
        [],
        [5],
        [{}],
        [{"type": "plugin"}],
        [{"type": "plugin", "id": "a", "allowed_tools": "x"}],
        [{"type": "ephemeral_mcp", "server_label": "a"}],
        [{"type": "ephemeral_mcp", "server_label": "a", "server_url": "http://a", "headers": {"X": 5}}],
        [{"type": "plugin", "id": "a", "more": math.nan}],
        [{"type": ["plugin"], "id": "a"}],
    ],
    "context_length": [0, 1.5, True],
    "store": [1, "yes"],
    "previous": ["resp_1", {"response_id": "resp_1"}, 5],
    "on_progress": ["print", 5],
    "model": ["", 5],
    "needs": ["tool_use", {"flying"}, [["tool_use"]], 1],
    "strict": [1, "yes"],
    "strict_model": [1, "yes"],
    "seed": [1.5, "x", 2**64],
    "top_k": [-1, 2.5],
    "min_p": [-0.1, 1.1],
    "repeat_penalty": [0, -1],
    "logit_bias": [5, {"a": "b"}, {1: 2}, {"1": math.nan}],
    "ttl": [0, 1.5],
    "draft_model": ["", 5],
    "extra": [5, {1: 2}, {"x": math.nan}, {"x": [{"y": math.inf}]}, {"x": object()}, {"x": {1: 2}}, {"x": CYCLE}],
    "extra_headers": [
        5,
        {"X": 5},
        {"X": "a\r\nEvil: b"},
        {"X\n": "a"},
        {"X": "é"},
        {"Content-Length": "5"},
        {"A: b": "x"},
        {"": "x"},
        {"Bad Name": "x"},
        {"Accept-Encoding": "gzip"},
    ],
}
CASES = [(name, value) for name, values in BAD.items() for value in values]


def test_every_option_has_a_rule_and_bad_values() -> None:
    """The options that type checkers see, the rules and these cases are the same names."""
    assert set(get_type_hints(RequestOptions)) == set(_RULES) == set(BAD)


@pytest.mark.parametrize(("name", "value"), CASES)
def test_bad_values_are_refused_before_anything_is_sent(lmstudio: Simulator, name: str, value: Any) -> None:
    """A wrong value is named at the constructor, at the call, and in a stream's call; nothing is sent."""
    adapter = LMStudioAdapter("llama3", base_url=lmstudio.url)
    with pytest.raises(ModelInvalidRequestError, match=name):
        adapter.stream("hi", **{name: value})
    with pytest.raises(ModelInvalidRequestError, match=name):
        adapter.generate_completion_stream("hi", {name: value})  # type: ignore[misc]
    if name != "messages":
        with pytest.raises(ValueError, match=name):
            LMStudioAdapter("llama3", base_url=lmstudio.url, **{name: value})
    assert lmstudio.requests == []


def test_an_error_says_what_would_be_right() -> None:
    """The message of a wrong value ends with what the option takes."""
    with pytest.raises(ModelInvalidRequestError, match="top_p is 2; it must be a number over 0 and at most 1"):
        checked({"top_p": 2}, "verb")


def test_an_unknown_option_is_a_type_error() -> None:
    """A misspelt option is told, with what was probably meant."""
    with pytest.raises(TypeError, match=r"verb\(\) got an unexpected option 'temprature'; did you mean 'temperature'"):
        checked({"temprature": 1}, "verb")
    with pytest.raises(TypeError, match="max_token"):
        LMStudioAdapter("llama3", max_token=5)  # type: ignore[call-arg]


@pytest.mark.parametrize("extra", [{"n": 2}, {"logprobs": True}, {"model": "x"}, {"messages": []}, {"stream": True}])
def test_extra_fields_that_would_not_do_what_they_say(extra: dict[str, Any]) -> None:
    """What LM Studio ignores, and what the adapter sends itself, is refused in extra."""
    with pytest.raises(ModelInvalidRequestError, match=f"extra\\['{next(iter(extra))}'\\]"):
        checked({"extra": extra}, "verb")
    assert checked({"extra": {"n": 1, "logprobs": False}}, "verb")


def test_none_means_not_given() -> None:
    """None leaves an option at its default; for the system message it is a value of its own."""
    assert checked({"temperature": None, "max_tokens": None, "system_message": None, "stop": None}, "verb") == {
        "system_message": None,
        "stop": None,
    }


@given(
    st.sampled_from(sorted(_RULES)),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
)
def test_any_value_is_taken_or_refused_clearly(name: str, value: Any) -> None:
    """No value of any type makes the check fail in another way."""
    with suppress(ModelInvalidRequestError):
        assert set(checked({name: value}, "verb")) <= {name}


async def test_options_reach_the_wire(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Every option that is LM Studio's own is sent under LM Studio's name."""
    sent = {
        "max_tokens": -1, "temperature": 0, "top_p": 0.5, "frequency_penalty": 1, "presence_penalty": -1, "stop": ["x"],
        "seed": 7, "top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "logit_bias": {"5": -1}, "ttl": 60,
        "draft_model": "tiny",
    }  # fmt: skip
    await adapter.generate_completion("hi", **sent, extra={"mirostat": 2})
    body = lmstudio.requests[0].json
    assert {name: body[name] for name in sent} == sent
    assert body["mirostat"] == 2


class Text(str):
    pass


class Number(float):
    pass


class Count(int):
    pass


async def test_subclasses_of_plain_types_reach_the_wire(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A markupsafe text, a NumPy float or a read-only mapping is sent as the plain value that it is."""
    extra = MappingProxyType({Text("a"): [Text("x"), Number(0.5), Count(3)], "b": MappingProxyType({"c": Number(1)})})
    await adapter.generate_completion(
        Text("hi"), system_message=Text("be brief"), stop=[Text("x")], temperature=Number(0.5), extra=extra,
        logit_bias=MappingProxyType({Text("5"): Number(-1)}), model=Text("llama3"),
    )  # fmt: skip
    body = lmstudio.requests[0].json
    assert [turn["content"] for turn in body["messages"]] == ["be brief", "hi"]
    assert (body["stop"], body["temperature"], body["logit_bias"]) == (["x"], 0.5, {"5": -1})
    assert (body["a"], body["b"], body["model"]) == (["x", 0.5, 3], {"c": 1}, "llama3")


@pytest.mark.parametrize(
    ("reasoning", "effort"), [("off", "none"), ("on", "medium"), ("low", "low"), ("medium", "medium"), ("high", "high")]
)
async def test_reasoning_is_sent_in_the_words_of_this_route(
    adapter: LMStudioAdapter, lmstudio: Simulator, reasoning: Any, effort: str
) -> None:
    """/v1/chat/completions takes reasoning_effort, which has no "on" and says "none" for off."""
    await adapter.generate_completion("hi", reasoning=reasoning)
    assert lmstudio.requests[-1].json["reasoning_effort"] == effort


SYSTEM = {"role": "system", "content": "pirate"}
USER = {"role": "user", "content": "hi"}
DEFAULT = {"role": "system", "content": "You are a helpful assistant."}


@pytest.mark.parametrize(
    ("prompt", "options", "sent"),
    [
        ("hi", {}, [DEFAULT, USER]),
        ("hi", {"system_message": "pirate"}, [SYSTEM, USER]),
        ("hi", {"system_message": None}, [USER]),
        ("", {"messages": [USER]}, [DEFAULT, USER]),
        ("", {"messages": [SYSTEM, USER]}, [SYSTEM, USER]),
        ("hi", {"messages": [SYSTEM]}, [SYSTEM, USER]),
        ("", {"messages": iter([USER])}, [DEFAULT, USER]),
        ("", {"messages": [USER, SYSTEM]}, [USER, SYSTEM]),
    ],
)
async def test_what_history_is_sent(
    adapter: LMStudioAdapter, lmstudio: Simulator, prompt: str, options: Any, sent: list[Any]
) -> None:
    """The prompt follows the history; a system message is put before it only if it has none."""
    response = await adapter.generate_completion(prompt, **options)
    assert lmstudio.requests[0].json["messages"] == sent
    assert [message.content for message in response.messages] == [*(turn["content"] for turn in sent), response.text]


async def test_the_history_s_system_message_wins_with_a_note(adapter: LMStudioAdapter) -> None:
    """When both were given, the answer's notes say which was used."""
    both = await adapter.generate_completion(messages=[SYSTEM, USER], system_message="ninja")
    assert [note.code for note in both.notes] == ["SYSTEM_MESSAGE_IGNORED"]
    one = await adapter.generate_completion(messages=[SYSTEM, USER])
    assert one.notes == ()


@pytest.mark.parametrize("arguments", [{}, {"messages": []}, {"prompt": ""}, {"messages": [], "prompt": ""}])
def test_nothing_to_send_is_an_error(adapter: LMStudioAdapter, arguments: Any) -> None:
    """Neither prompt nor messages: said before anything is sent."""
    with pytest.raises(ModelInvalidRequestError, match="nothing to send"):
        adapter.stream(**arguments)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"prompt": "a\ud800b"}, "prompt"),
        ({"prompt": "x", "system_message": "\udfff"}, "system_message"),
        ({"messages": [USER, {"role": "user", "content": "\ud800"}]}, r"messages\[1\]"),
        ({"prompt": "x", "stop": "\ud800"}, "stop"),
        ({"prompt": "x", "extra": {"y": "\ud800"}}, "extra"),
        ({"prompt": "x", "model": "\ud800"}, "model"),
        *[
            ({"messages": [{"role": "user", "content": "\ud800"}], **options}, r"messages\[0\]")
            for options in (
                {"tools": [F]},
                {"functions": [F["function"]]},
                {"response_format": list[int]},
            )
        ],
    ],
)
def test_a_lone_surrogate_is_named(adapter: LMStudioAdapter, arguments: Any, field: str) -> None:
    """Half of a UTF-16 pair cannot be sent; the error says where it is."""
    with pytest.raises(ModelInvalidRequestError, match=f"{field} holds a lone surrogate"):
        adapter.stream(**arguments)


def test_nothing_is_salvaged_from_json() -> None:
    """Where the answer is to be JSON, a text in it that looks like a call is no call."""

    def salvageable(**given: Any) -> Any:
        options = {**DEFAULTS, **checked({"tools": [F], **given}, "generate_completion")}
        request = chat_request("m", "x", options, MessageReader(), streaming=True, max_bytes=10_000)
        return request.salvageable

    assert set(salvageable()) == {"f"}
    assert salvageable(salvage=False) is None
    assert salvageable(response_format={"type": "object", "properties": {"a": {"type": "string"}}}) is None


def test_a_body_over_the_limit_is_refused(lmstudio: Simulator) -> None:
    """A request over max_request_bytes is refused before it is sent, and says how large it is."""
    adapter = LMStudioAdapter("llama3", base_url=lmstudio.url, max_request_bytes=2000)
    with pytest.raises(ModelInvalidRequestError, match=r"the request has \d+ bytes, more than max_request_bytes=2000"):
        adapter.stream("x" * 2000)


@pytest.mark.parametrize("prompt", [5, None, b"hi", ["hi"]])
def test_a_prompt_is_a_text(adapter: LMStudioAdapter, prompt: Any) -> None:
    """Anything else as a prompt is refused."""
    with pytest.raises(ModelInvalidRequestError, match="prompt must be a text"):
        adapter.stream(prompt)


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra_headers": {"Authorization": "Bearer canary\n"}},
        {"system_message": ["canary"]},
        {"stop": [5, "canary"]},
        {"previous": "canary"},
        {"tool_choice": {"canary": 1}},
        {"extra": {5: "canary"}},
    ],
    ids=repr,
)
def test_what_is_said_is_not_quoted(wrong: dict[str, Any]) -> None:
    """An option that may hold a text or a token is refused without showing it."""
    with pytest.raises(ModelInvalidRequestError) as caught:
        checked(wrong, "generate_completion")
    assert "canary" not in str(caught.value)
    assert next(iter(wrong)) in str(caught.value)


@pytest.mark.parametrize(
    ("typo", "meant"), [("guard", "guards"), ("base_ur", "base_url"), ("temprature", "temperature")]
)
def test_a_constructor_knows_what_was_meant(typo: str, meant: str) -> None:
    """A misspelt name at the constructor is told with the one that is near, be it an option or not."""
    with pytest.raises(TypeError, match=f"{typo!r}; did you mean {meant!r}"):
        LMStudioAdapter("llama3", **{typo: 1})
