"""Who answers: LM Studio or the embedded engine, and with which model. Decided once, for every command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from neuroroute.details import ModelDetails
from neuroroute.errors import ConfigurationError, ModelUnavailableError

Engine: TypeAlias = Literal["lmstudio", "embedded"]

DEFAULT_HOST = "localhost:1234"
INSTALL = 'pip install "neuroroute[cli,embedded]"'


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers."""

    engine: Engine
    base_url: str | None = None
    """Of LM Studio; None: as the environment has it, else the default address."""
    why: str = ""
    """To tell, where nobody asked for this engine."""


def choose(
    engine: Engine | None,
    url: str | None,
    environ: Mapping[str, str],
    *,
    answers: Callable[[], bool],
    can_embed: Callable[[], bool],
) -> Choice:
    """Takes the engine that was asked for, else the LM Studio whose address is known, else whichever there is.

    Args:
        engine: what ``--engine`` says.
        url: what ``--url`` says.
        environ: for ``LMSTUDIO_URL``.
        answers: whether something answers at LM Studio's default address; called only where it matters.
        can_embed: whether the embedded engine is installed; called only where it matters.

    Raises:
        ConfigurationError: the options contradict each other, or nobody can answer.
    """
    if engine == "embedded" and url:
        raise ConfigurationError("--url names an LM Studio, --engine embedded does without one", hint="Leave one out.")
    if engine != "embedded" and (engine or url or environ.get("LMSTUDIO_URL", "").strip() or answers()):
        return Choice("lmstudio", url)
    why = "" if engine else f"No LM Studio at {DEFAULT_HOST}"
    if not can_embed():
        raise ConfigurationError(
            f"{why or 'Asked for the embedded engine'}, but the embedded engine is not installed",
            hint=f"Install it: {INSTALL}\nOr start LM Studio's server: Developer page, or `lms server start`.",
        )
    return Choice("embedded", why=why)


def default_model(models: Sequence[ModelDetails]) -> str:
    """The model to ask when nobody named one: a loaded LLM, else one that loads on request.

    Raises:
        ModelUnavailableError: the server has none.
    """
    able = [model for model in models if "chat" in model.capabilities]
    if not able:
        raise ModelUnavailableError(
            "LM Studio has no model that can chat",
            retryable=False,
            hint="Download one in LM Studio, or with `lms get`; then load it with `lms load`.",
        )
    model = next((model for model in able if model.loaded), able[0])
    return model.instances[0].id if model.instances else model.key


def known_model(models: Sequence[ModelDetails], asked: str) -> bool:
    """Whether the server has the model that is asked for; it would answer with another one without a word."""
    return any(model.answers_to(asked) for model in models)
