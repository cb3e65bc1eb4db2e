"""How a model on a version of the server answers: where reasoning goes, what a stream has, how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.profiles import Profile, ReasoningForm
    from neuroroute.simulator.unknowns import Unknowns


@dataclass(frozen=True, slots=True)
class Style:
    """What server, model and request say of how an answer is sent; the answer itself may say otherwise."""

    profile: Profile
    reasoning_form: ReasoningForm
    """Where the reasoning is put."""
    silent: bool
    """Reasoning was turned off, and is left out."""
    prefill: float
    """Seconds to read the prompt."""
    delta: float
    """Seconds for one delta of the answer."""
    unknowns: Unknowns

    @property
    def tokens_per_second(self) -> float:
        """How fast it answers, as its stats tell."""
        return round(1 / self.delta, 3) if self.delta else 1000.0

    @property
    def first_token(self) -> float:
        """Seconds until its first token, as its stats tell."""
        return round(self.prefill + self.delta, 3)


def style_of(
    model: SimulatedModel, body: Mapping[str, Any], prompt_tokens: int, profile: Profile, unknowns: Unknowns
) -> Style:
    """The style of an answer to this request."""
    gpt_oss = model.architecture == "gpt-oss"
    turned_off = body.get("reasoning_effort") == "none" and "off" in model.reasoning
    reading, writing = model.prefill_tokens_per_second, model.tokens_per_second
    return Style(
        profile=profile,
        reasoning_form=profile.gpt_oss_reasoning_form if gpt_oss else profile.reasoning_form,
        silent=turned_off and profile.reasoning_effort,
        prefill=prompt_tokens / reading if reading else 0.0,
        delta=1 / writing if writing else 0.0,
        unknowns=unknowns,
    )
