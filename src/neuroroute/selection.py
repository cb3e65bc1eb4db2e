"""Which of a server's models is meant, by a name or by what it shall be able to do. Pure: a listing goes in."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeAlias

from neuroroute.capabilities import CAPABILITIES, Capability
from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError, ModelNotFoundError, ModelUnavailableError
from neuroroute.responses import Note

AUTO = "auto"
"""The model id that means: whichever is loaded."""

_Rung: TypeAlias = Callable[[ModelDetails, str], bool]

_STRICT: tuple[_Rung, ...] = (
    lambda model, asked: model.key == asked,
    lambda model, asked: model.key.casefold() == asked.casefold(),
    lambda model, asked: any(instance.id == asked for instance in model.instances),
    lambda model, asked: _last(model.key) == asked.casefold(),
)
_LENIENT: tuple[_Rung, ...] = (
    *_STRICT,
    lambda model, asked: (
        model.key.casefold().startswith(asked.casefold()) or _last(model.key).startswith(asked.casefold())
    ),
)


def named(models: Sequence[ModelDetails], asked: str) -> ModelDetails:
    """The model of this name: its key, its key in any case, the id of a copy, or its key without the publisher.

    Raises:
        ModelNotFoundError: there is none, or a key without the publisher fits several; names what is near.
    """
    return _only(models, asked, _STRICT)


def find(models: Sequence[ModelDetails], asked: str) -> ModelDetails:
    """What :func:`named` finds, else the one model whose key, with or without the publisher, begins so.

    Raises:
        ModelNotFoundError: there is none, or there are several; names them, or what is near.
    """
    return _only(models, asked, _LENIENT)


class Choice(NamedTuple):
    """Which model is asked, where any would do."""

    model: ModelDetails
    note: Note | None
    """That there were others, if there were."""

    @property
    def model_id(self) -> str:
        """The id to ask for: that of its first copy in memory."""
        return self.model.instances[0].id if self.model.instances else self.model.key


def choose(models: Sequence[ModelDetails], needs: Collection[Capability] = ()) -> Choice:
    """The loaded model that can chat, and what is needed beside; of several, the first in the listing.

    Where the listing does not tell what is loaded, every model counts as loaded.

    Raises:
        ModelUnavailableError: there is none; says what there is.
    """
    able = [model for model in models if {"chat", *needs} <= model.capabilities]
    loaded = [model for model in able if model.loaded is not False]
    if not loaded:
        raise _none_loaded(models, able, needs)
    if len(loaded) == 1:
        return Choice(loaded[0], None)
    others = ", ".join(model.key for model in loaded[1:])
    return Choice(loaded[0], Note("MODEL_CHOSEN", f"{loaded[0].key!r} was asked; these would have done, too: {others}"))


def in_words(capabilities: Collection[Capability]) -> str:
    """Capabilities, in their usual order."""
    return ", ".join(name for name in CAPABILITIES if name in capabilities)


def _only(models: Sequence[ModelDetails], asked: str, ladder: Sequence[_Rung]) -> ModelDetails:
    for rung in ladder if asked else ():
        found = [model for model in models if rung(model, asked)]
        if len(found) == 1:
            return found[0]
        if found:
            keys = _listed(found)
            raise ModelNotFoundError(f"{asked!r} may mean {keys}", hint="Give the whole key of one of them.")
    raise ModelNotFoundError(f"the server has no model {asked!r}", hint=_near(models, asked))


def _near(models: Sequence[ModelDetails], asked: str) -> str:
    if not models:
        return "It has none at all. Download one in LM Studio, or with `neuroroute models download`."
    keys = {name: model.key for model in models for name in (_last(model.key), model.key.casefold())}
    near = dict.fromkeys(keys[name] for name in difflib.get_close_matches(asked.casefold(), keys, 4, 0.5))
    if near:
        return f"Did you mean {' or '.join(list(near)[:3])}?"
    return f"It has {_listed(models)}."


def _none_loaded(
    models: Sequence[ModelDetails], able: Sequence[ModelDetails], needs: Collection[Capability]
) -> LMStudioError:
    what = f"that has {in_words(needs)}" if needs else "that can chat"
    there = [f"{model.key} ({in_words(model.capabilities) or 'nothing known'})" for model in models if model.loaded]
    loaded = f"loaded: {', '.join(there)}" if there else "none is loaded at all"
    if able:
        hint = f"Load one: {_listed(able)}. load_model() does, or a request that names it."
    else:
        hint = f"Download one {what}, in LM Studio or with download_model()."
    why = f"no model is loaded {what}; {loaded}"
    return ModelUnavailableError(why, retryable=False, hint=hint, details={"reason": "no_models"})


_SHOWN = 8


def _listed(models: Sequence[ModelDetails]) -> str:
    keys = ", ".join(model.key for model in models[:_SHOWN])
    return keys + (f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else "")


def _last(key: str) -> str:
    """A key without its publisher, in lower case."""
    return key.casefold().rpartition("/")[2]
