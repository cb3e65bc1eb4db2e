"""PURE: what a server has, what of it would be asked, and whether that can answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from neuroroute.details import ListingSource, ModelDetails
from neuroroute.doctor.findings import Finding, found
from neuroroute.errors import ModelNotFoundError
from neuroroute.selection import AUTO, named

_SMALL_CONTEXT = 8192
"""Tokens; less is soon filled by a conversation with tools."""

_SHOWN = 4


class Choice(NamedTuple):
    """What was found of the models, and which of them to try."""

    findings: list[Finding]
    model: ModelDetails | None
    """The one that would be asked; None: there is none."""
    ready: bool
    """Whether it answers without being loaded first."""
    loadable: bool = False
    """Whether the server can be had to load it."""

    copy: str = ""
    """The copy that was named, if one was."""

    @property
    def model_id(self) -> str:
        """What to ask for."""
        if self.model is None:
            return ""
        return self.copy or (self.model.instances[0].id if self.model.instances else self.model.key)


def chosen(
    models: Sequence[ModelDetails],
    asked: str | None,
    on_request: Collection[str],
    *,
    can_load: bool,
    hides: bool = False,
    slots: int | None = None,
) -> Choice:
    """Which model would be asked.

    Args:
        models: what the server lists.
        asked: the model that was named, if one was; ``auto`` is none.
        on_request: the keys that it loads for a request.
        can_load: whether it can be told to load one.
        hides: whether it may list the loaded ones alone; see :func:`may_hide`.
        slots: how many requests it is sent at once, where that was set.
    """
    asked = None if asked == AUTO else asked
    able = [model for model in models if "chat" in model.capabilities]
    if not models or (asked is None and not able):
        return Choice([_none(models, asked, hides=hides)], None, ready=False)
    if asked is None:
        model = next((model for model in able if model.loaded is not False), able[0])
    else:
        try:
            model = named(models, asked)
        except ModelNotFoundError as error:
            what = error.message.rstrip(".")
            do = error.hint
            if hides:
                what += ", or it is not loaded: this LM Studio lists the loaded ones alone"
                do = f"{do} It may be on disk: `lms ls` tells, and `lms load {asked}` loads it."
            return Choice([found("model-not-found", "models", what, do=do)], None, ready=False)
        if model.lacks("chat"):
            return Choice([found("model-cannot-chat", "models", f"{model.key} is for embeddings")], None, ready=False)
    if model.loaded is False:
        told = _not_loaded(model, asked, able, on_request, can_load=can_load)
        return Choice([told], model, ready=False, loadable=can_load or model.key in on_request)
    copy = next((one.id for one in model.instances if one.id == asked), "")
    return Choice(_ready(model, slots), model, ready=True, copy=copy)


def may_hide(models: Sequence[ModelDetails], source: ListingSource, *, lm_studio: bool) -> bool:
    """Whether models on disk may be missing in the listing: before 0.4, with loading on request off, they are.

    Args:
        models: what the server lists.
        source: the listing.
        lm_studio: whether it is an LM Studio.
    """
    return lm_studio and source != "v1" and all(model.loaded is not False for model in models)


def _none(models: Sequence[ModelDetails], asked: str | None, *, hides: bool) -> Finding:
    if not hides:
        what = "no model of the server can chat" if models else "the server has no models"
        return found("models-none", "models", what)
    what = f"no {'chat ' if models else ''}model is loaded, or there is none"
    if asked:
        what = f"{asked} is not loaded, or it is not there"
    do = f"`lms ls` lists those on disk; load one: `lms load{f' {asked}' if asked else ''}`. Are there none? `lms get`."
    return found("model-not-loaded", "models", f"{what}: this LM Studio lists the loaded ones alone", do=do)


def _not_loaded(
    model: ModelDetails,
    asked: str | None,
    able: Sequence[ModelDetails],
    on_request: Collection[str],
    *,
    can_load: bool,
) -> Finding:
    load = f"Load it: `lms load {model.key}`" + (
        f", `neuroroute models load {model.key}`, or --fix." if can_load else "."
    )
    what = f"{model.key} is on disk and not loaded" if asked else "no model is loaded"
    others = [one.key for one in able if one.loaded]
    if asked and others:
        load += f" Or ask the one that is: --model {others[0]}."
    if not asked and len(able) > 1:
        what += f"; on disk: {_some(able)}"
    if model.key in on_request:
        return found("model-loads-on-request", "models", f"{what}; the first request loads it", do=load)
    return found("model-not-loaded", "models", f"{what}, and none loads on request", do=load)


def _ready(model: ModelDetails, slots: int | None) -> list[Finding]:
    copies = model.instances
    context = min((copy.context_length for copy in copies if copy.context_length), default=None)
    most = model.max_context_length
    parallel = next((copy.parallel for copy in copies if copy.parallel), None)
    told = [
        "loaded" if model.loaded else "",
        f"context {context}" + (f" of {most}" if most and most != context else "") if context else "",
        f"{parallel} request{'s' if parallel != 1 else ''} at once" if parallel else "",
    ]
    findings = [found("model-ready", "models", f"{model.key}: {', '.join(filter(None, told)) or 'listed'}")]
    if parallel and slots and slots > parallel:
        what = f"{slots} requests are sent at once (slots), and {model.key} answers {parallel}"
        findings.append(found("slots-too-many", "models", what, do=f"Set slots to {parallel}, or leave it out."))
    if context and most and context < min(most, _SMALL_CONTEXT):
        by = "neuroroute models" if model.source == "v1" else "lms"
        more = f"--context-length {min(most, 2 * _SMALL_CONTEXT)}"
        do = f"`{by} unload {model.key}`, then `{by} load {model.key} {more}`."
        what = f"{model.key} could have a context of {most} tokens, and was loaded with {context}"
        findings.append(found("context-small", "models", what, do=do))
    if len(copies) > 1:
        ids = ", ".join(copy.id for copy in copies[1:])
        what = f"{model.key} is loaded {len(copies)} times"
        findings.append(found("model-duplicates", "models", what, do=f"`neuroroute models unload` them: {ids}"))
    return findings


def trained_for_tools(models: Sequence[ModelDetails]) -> str:
    """Those that the server says are trained for tools, for a sentence; empty: none."""
    return _some([model for model in models if "tool_use" in model.told & model.capabilities])


def apis(source: ListingSource, *, lm_studio: bool, more: Sequence[str]) -> list[Finding]:
    """Which APIs the server has, and what that says of its version.

    Args:
        source: the best listing that it has.
        lm_studio: whether it is an LM Studio.
        more: names of further routes that it has.
    """
    native = {"v1": ["/api/v1", "/api/v0"], "v0": ["/api/v0"], "openai": []}[source]
    there = ", ".join(["/v1", *native, *more])
    version = {"v1": "0.4 or later", "v0": "0.3.6 or a later 0.3", "openai": "older than 0.3.6"}[source]
    if not lm_studio:
        return [found("apis", "apis", there)]
    findings = [found("apis", "apis", f"{there} (LM Studio {version})")]
    if source != "v1":
        findings.append(found("server-old", "apis", "the server has no /api/v1"))
    return findings


def _some(models: Sequence[ModelDetails]) -> str:
    keys = ", ".join(model.key for model in models[:_SHOWN])
    return keys + (f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else "")
