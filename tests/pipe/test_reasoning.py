from __future__ import annotations

import pytest

from neuroroute import LMStudioAdapter, ModelInvalidRequestError
from neuroroute.pipe.reasoning import supports
from neuroroute.simulator import SimulatedModel, Simulator


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
    assert (await oss.generate_completion("hi", reasoning="low")).text == "You said: hi"
    assert [received.path for received in lmstudio.requests] == ["/api/v1/models", "/v1/chat/completions"]


async def test_what_is_not_listed_is_not_checked(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """Where the server tells no settings, or no listing at all, the request is sent as it is."""
    lmstudio.surfaces = ()
    assert (await adapter.generate_completion("hi", reasoning="off")).text == "You said: hi"
    await adapter.generate_completion("hi")
    assert "reasoning_effort" not in lmstudio.requests[-1].json
