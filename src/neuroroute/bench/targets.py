"""Finds the models to measure: which host has which of them."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from neuroroute.adapter import LMStudioAdapter
from neuroroute.bench.measure import Target
from neuroroute.bench.plan import Plan
from neuroroute.details import ModelDetails
from neuroroute.errors import LMStudioError, ModelInvalidRequestError, ModelNotFoundError
from neuroroute.hostlist import HostList, HostSettings, read_hosts
from neuroroute.pipe.policies import BreakerPolicy
from neuroroute.selection import AUTO
from neuroroute.selection import choose as loaded

_NEVER = BreakerPolicy(minimum_calls=1 << 40)
"""A breaker that opened would hide what the server does."""

ChooseModel: TypeAlias = Callable[[Sequence[ModelDetails]], str]
"""Takes a model from a listing."""


@dataclass(slots=True)
class Found:
    """What can be measured, and what cannot."""

    targets: list[Target] = field(default_factory=list[Target])
    missing: list[str] = field(default_factory=list[str])
    """Which hosts are left out, and why: sentences."""


@asynccontextmanager
async def find_targets(
    hosts: HostList, models: Sequence[str], plan: Plan, *, choose: ChooseModel | None = None
) -> AsyncGenerator[Found]:
    """The models to measure, each on each host that has it; they can be asked inside the ``async with`` block.

    Args:
        hosts: as ``base_url`` takes them.
        models: their ids; ``auto`` for whichever is loaded.
        plan: how many requests there will be at once, and how long they are.
        choose: takes a model of each host where ``models`` names none.

    Raises:
        ModelInvalidRequestError: no model is named, and nothing chooses one; or one cannot be measured so.
        ModelNotFoundError: a model that no host has.
        LMStudioError: no host tells what it has.
    """
    if not models and choose is None:
        raise ModelInvalidRequestError("no model is named; name at least one")
    settings = read_hosts(hosts, "base_url", os.environ)
    async with AsyncExitStack() as opened:
        adapters = [await opened.enter_async_context(_adapter(host, plan)) for host in settings]
        listings = await asyncio.gather(*map(_listed, adapters))
        if len(failures := [listed for listed in listings if isinstance(listed, LMStudioError)]) == len(settings):
            raise failures[0]
        found = Found()
        for host, adapter, listed in zip(settings, adapters, listings, strict=True):
            if isinstance(listed, LMStudioError):
                found.missing.append(f"Without {host.name}: {listed.message}.")
                continue
            for model in _named(models, listed, choose):
                details = next((one for one in listed if one.answers_to(model)), None)
                if details is None:
                    found.missing.append(f"Without {model} on {host.name}, which does not have it.")
                else:
                    found.targets.append(Target(adapter.with_model(model), host.name, details))
        _check(found, models, [one for listed in listings if not isinstance(listed, LMStudioError) for one in listed])
        _check_targets(found, plan)
        yield found


def _named(models: Sequence[str], listed: Sequence[ModelDetails], choose: ChooseModel | None) -> list[str]:
    """The models to look for on a host, each once; ``auto`` is whichever is loaded there.

    Raises:
        ModelUnavailableError: none is.
    """
    if not models and choose is not None:
        return [choose(listed)]
    return [*dict.fromkeys(loaded(listed).model_id if model == AUTO else model for model in models)]


def _adapter(host: HostSettings, plan: Plan) -> LMStudioAdapter:
    return LMStudioAdapter(
        "unsettled",
        base_url=[host],
        slots=plan.slots,
        breaker=_NEVER,
        max_retries=0,
        strict_model=True,
        timeout_ms=plan.timeout_ms,
        idle_timeout_ms=plan.timeout_ms,
    )


async def _listed(adapter: LMStudioAdapter) -> list[ModelDetails] | LMStudioError:
    try:
        return await adapter.list_models()
    except LMStudioError as error:
        return error


def _check(found: Found, models: Sequence[str], listed: Sequence[ModelDetails]) -> None:
    measured = {target.model for target in found.targets}
    for model in models:
        if model not in measured and model != AUTO:
            near = difflib.get_close_matches(model, [one.key for one in listed], 3, 0.4)
            meant = f"Did you mean {' or '.join(near)}?" if near else "`neuroroute models` lists those that there are."
            raise ModelNotFoundError(f"no host has the model {model}", hint=meant)


def _check_targets(found: Found, plan: Plan) -> None:
    needed = plan.prompt_tokens + plan.max_tokens
    for target in found.targets:
        details = target.details
        if details is not None and details.kind == "embedding":
            raise ModelInvalidRequestError(
                f"{target.model} makes embeddings, and writes nothing that could be measured"
            )
        fits = details.context_length if details else None
        if fits is not None and needed > fits:
            raise ModelInvalidRequestError(
                f"prompt_tokens and max_tokens are {needed} together, "
                f"and {target.model} on {target.host} has a context of {fits} tokens",
                hint="Take less, or load the model with a larger context.",
            )
