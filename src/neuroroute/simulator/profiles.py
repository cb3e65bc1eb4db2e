"""What differs between the versions of LM Studio, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from neuroroute.simulator import wordings
from neuroroute.simulator.wordings import ErrorCase

Surface: TypeAlias = Literal["v0", "v1", "greeting"]
ReasoningForm: TypeAlias = Literal["reasoning_content", "reasoning", "think"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One version of LM Studio, as far as it differs from others. Make your own with ``dataclasses.replace``.

    Each field tells where its values come from; "a guess" stands where nothing is established.
    """

    name: str
    surfaces: frozenset[Surface]
    """The native APIs: v0 from 0.3.6, v1 (chat, listing, load, unload) from 0.4.0, as its documentation has it. That
    every version greets is a guess."""
    responses: bool
    """Whether it has ``/v1/responses``: from 0.3.29 (its release notes)."""
    unknown_model: Callable[[str, list[str]], ErrorCase]
    """What is said to a model among several that is unknown: a 404 of its own words on 0.3.5, a 400 later (reports).
    That 0.3.16 has the later words is a guess."""
    no_models_loaded: ErrorCase
    """The same words always; a 404 on 0.3.5, a 400 later (reports)."""
    load_failed: Callable[[str, str], ErrorCase]
    """A failed load: "404 old, 400 later" (reports). That 0.3.5 alone is old is a guess."""
    overflow: Callable[[int, int], ErrorCase]
    """A prompt that does not fit: one wording early, others in early and mid 2026, without numbers in 0.4.20 to 0.4.25
    (reports). Which of them 0.3.30 and 0.4.0 have is a guess by their dates."""
    stream_usage: bool
    """Whether ``stream_options.include_usage`` is honoured: from 0.3.18 (its release notes)."""
    argument_fragments: bool
    """Whether the arguments of a streamed tool call come in fragments: from 0.3.17. In one piece before: a guess."""
    reasoning_form: ReasoningForm
    """Where an answer's reasoning is put, unless that says otherwise: left in the content by default in 0.3 (a field of
    its own is opt-in from 0.3.9), in ``reasoning_content`` in 0.4 (recorded on 0.4.25)."""
    gpt_oss_reasoning_form: ReasoningForm
    """The same for models of the architecture ``gpt-oss``: ``reasoning`` from 0.3.23. That 0.4 keeps it is a guess."""
    reasoning_effort: bool
    """Whether ``reasoning_effort`` ``"none"`` turns off the reasoning of a model that lists ``off``: from 0.4.17
    (LM Studio's staff, #2057). Older servers ignore it (#988)."""
    most_parallel: int | None
    """A limit over ``SimulatedModel.parallel``: one request at a time before 0.4.0, whose listing was the first to
    tell ``parallel``. A guess."""
    auto_evict: bool
    """Whether loading on request makes room by unloading what was loaded so before: from 0.3.9 (its release notes)."""

    def parallel(self, slots: int) -> int:
        """How many requests an instance with so many slots answers at once."""
        return slots if self.most_parallel is None else min(slots, self.most_parallel)


_0_3_5 = Profile(
    name="0.3.5",
    surfaces=frozenset({"greeting"}),
    responses=False,
    unknown_model=wordings.unknown_model_early,
    no_models_loaded=wordings.NO_MODELS_LOADED_EARLY,
    load_failed=partial(wordings.load_failed, status=404),
    overflow=wordings.overflow_early,
    stream_usage=False,
    argument_fragments=False,
    reasoning_form="think",
    gpt_oss_reasoning_form="think",
    reasoning_effort=False,
    most_parallel=1,
    auto_evict=False,
)
_0_3_16 = replace(
    _0_3_5,
    name="0.3.16",
    surfaces=frozenset({"greeting", "v0"}),
    unknown_model=wordings.unknown_model,
    no_models_loaded=wordings.NO_MODELS_LOADED,
    load_failed=wordings.load_failed,
    auto_evict=True,
)
_0_3_30 = replace(
    _0_3_16,
    name="0.3.30",
    responses=True,
    stream_usage=True,
    argument_fragments=True,
    gpt_oss_reasoning_form="reasoning",
)
_0_4_0 = replace(
    _0_3_30,
    name="0.4.0",
    surfaces=frozenset({"greeting", "v0", "v1"}),
    overflow=wordings.overflow_n_keep,
    reasoning_form="reasoning_content",
    most_parallel=None,
)
_0_4_25 = replace(_0_4_0, name="0.4.25", overflow=wordings.overflow_without_numbers, reasoning_effort=True)

PROFILES = {profile.name: profile for profile in (_0_3_5, _0_3_16, _0_3_30, _0_4_0, _0_4_25)}
"""The versions that are known here, by name, oldest first."""


def profile_named(name: str) -> Profile:
    """The profile of a version.

    Raises:
        ValueError: There is none; those that exist are named.
    """
    if name not in PROFILES:
        msg = f"no profile is named {name!r}; there are {', '.join(PROFILES)}"
        raise ValueError(msg)
    return PROFILES[name]
