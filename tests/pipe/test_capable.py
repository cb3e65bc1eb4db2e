from __future__ import annotations

import base64
from typing import Any

import pytest

from conftest import FakeClock, chats
from neuroroute import LMStudioAdapter, ModelCapabilityError, ModelInvalidRequestError
from neuroroute.pipe.capable import ASK_AGAIN_SECONDS, supports
from neuroroute.simulator import Fail, SimulatedModel, Simulator

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
SEEING = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}]


def listings(lmstudio: Simulator) -> int:
    return len(lmstudio.requests) - len(chats(lmstudio))


@pytest.mark.parametrize(
    ("allowed", "setting", "right"),
    [
        (("on", "off"), "off", True),
        (("on", "off"), "low", False),
        (("low", "medium", "high"), "on", True),
        (("low", "medium", "high"), "off", False),
        (("off",), "on", False),
    ],
)
def test_what_a_model_supports(allowed: tuple[str, ...], setting: str, right: bool) -> None:
    """A setting must be listed; "on" is any effort that is."""
    assert supports(allowed, setting) is right


async def test_a_setting_that_the_model_lacks_is_refused(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The listing is asked once, and a request that the server would quietly change is never sent."""
    lmstudio.models = [SimulatedModel("gpt-oss", loaded=True, reasoning=("low", "medium", "high"))]
    oss = adapter.with_model("gpt-oss")
    for _ in range(2):
        with pytest.raises(ModelInvalidRequestError, match="reasoning is 'off'; this model takes low, medium, high"):
            await oss.generate_completion("hi", reasoning="off")
    response = await oss.generate_completion("hi", reasoning="low")
    assert (response.text, response.notes) == ("You said: hi", ())
    assert [received.path for received in lmstudio.requests] == ["/api/v1/models", "/v1/chat/completions"]


async def test_what_is_not_listed_is_not_checked(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Where the server tells nothing, or no listing at all, the request is sent as it is, whatever the id suggests."""
    lmstudio.surfaces = ()
    for options in ({"reasoning": "off"}, {"needs": {"vision"}, "strict": True}, {"tools": TOOLS, "strict": True}):
        response = await adapter.generate_completion("hi", **options)  # type: ignore[arg-type]
        assert (response.text, response.notes) == ("You said: hi", ())
    await adapter.generate_completion("hi")
    assert "reasoning_effort" not in lmstudio.requests[-1].json


@pytest.mark.parametrize(
    ("options", "lacks"),
    [
        ({"tools": TOOLS}, "tool_use"),
        ({"functions": [TOOLS[0]["function"]]}, "tool_use"),
        ({"needs": {"embedding"}}, "embedding"),
        ({"needs": {"vision"}, "tools": TOOLS}, "tool_use, vision"),
    ],
)
async def test_what_the_model_lacks_is_noted(
    adapter: LMStudioAdapter, lmstudio: Simulator, options: dict[str, Any], lacks: str
) -> None:
    """Of what the server says that the model cannot a note tells; with ``strict`` nothing is sent at all."""
    lmstudio.models[0].tools = False
    for stream in (False, True):
        with pytest.raises(ModelCapabilityError, match=f"lacks {lacks}") as caught:
            verb = adapter.stream("hi", **options, strict=True) if stream else None
            await (verb.whole() if verb else adapter.generate_completion("hi", **options, strict=True))
        assert (caught.value.code, caught.value.attempts, caught.value.retryable) == ("MODEL_CAPABILITY", 0, False)
    assert chats(lmstudio) == []
    response = await adapter.generate_completion("hi", **options)
    assert [(note.code, note.message) for note in response.notes] == [
        ("CAPABILITY_MISSING", f"the server says that 'llama3' lacks {lacks}")
    ]
    assert listings(lmstudio) == 1


async def test_an_image_needs_eyes(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """With ``strict`` an image is not sent to a model that cannot see; without, the server has its say."""
    with pytest.raises(ModelCapabilityError, match="lacks vision"):
        await adapter.generate_completion(messages=SEEING, strict=True)
    assert chats(lmstudio) == []
    with pytest.raises(ModelInvalidRequestError, match="Vision add-on is not loaded"):
        await adapter.generate_completion(messages=SEEING)


async def test_what_the_model_has_is_not_noted(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """A model that can what is asked of it answers without a note."""
    lmstudio.models[0].vision = True
    for options in ({"messages": SEEING}, {"prompt": "hi", "tools": TOOLS}, {"prompt": "hi", "tool_choice": "none"}):
        response = await adapter.generate_completion(**options, strict=True)  # type: ignore[arg-type]
        assert response.notes == ()


async def test_a_plain_question_costs_no_listing(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Who asks for nothing but an answer has nothing looked up, strict or not."""
    lmstudio.models[0].tools = False
    for strict in (False, True):
        await adapter.generate_completion("hi", strict=strict, tools=TOOLS, tool_choice="none")
    assert listings(lmstudio) == 0


async def test_a_silent_server_is_asked_seldom(adapter: LMStudioAdapter, lmstudio: Simulator, clock: FakeClock) -> None:
    """A server that gives no listing is asked again only after a while, and then may tell."""
    lmstudio.models[0].tools = False
    for path in ("/api/v1/models", "/api/v0/models", "/v1/models"):
        lmstudio.fail(Fail(500), path=path)
    for _ in range(3):
        assert (await adapter.generate_completion("hi", tools=TOOLS)).notes == ()
    assert listings(lmstudio) == 3
    clock.now += ASK_AGAIN_SECONDS
    assert len((await adapter.generate_completion("hi", tools=TOOLS)).notes) == 1
    assert listings(lmstudio) == 4


@pytest.mark.parametrize(("listed", "sent"), [(("low", "medium", "high"), "medium"), (("off", "low"), "low")])
async def test_on_is_an_effort_on_the_native_route(
    adapter: LMStudioAdapter, lmstudio: Simulator, listed: tuple[str, ...], sent: str
) -> None:
    """/api/v1/chat answers 400 to a setting that the model does not list: "on" is sent as an effort that it does."""
    lmstudio.models[:] = [SimulatedModel("llama3", loaded=True, reasoning=listed)]
    await adapter.generate_completion("hi", api="native", reasoning="on")
    assert lmstudio.requests[-1].json["reasoning"] == sent
