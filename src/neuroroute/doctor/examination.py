"""The examination: looks at each server, tries its model, and judges what it saw."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from neuroroute.adapter import LMStudioAdapter
from neuroroute.details import ModelDetails
from neuroroute.doctor.breakers import of_failures
from neuroroute.doctor.codes import Check
from neuroroute.doctor.door import USUAL_PORTS, Door, look_at
from neuroroute.doctor.failed import of_load, with_model
from neuroroute.doctor.findings import Finding, HostReport, Phases, Report, found, skipped
from neuroroute.doctor.identity import listed, who
from neuroroute.doctor.machine import Machine, this_machine
from neuroroute.doctor.modelcheck import Choice, apis, chosen, may_hide
from neuroroute.doctor.reach import has_route, on_request, quickest_ms, reached
from neuroroute.doctor.speed import of_machine, of_phases
from neuroroute.doctor.streamcheck import of_stream, phases
from neuroroute.doctor.toolcheck import check_tools
from neuroroute.doctor.trialcheck import of_completion, of_structured, of_tool_call
from neuroroute.doctor.trials import Trials, closed, stream_request
from neuroroute.doctor.wirestream import StreamSeen, stream_seen
from neuroroute.errors import (
    LMStudioError,
    MalformedResponseError,
    ModelTimeoutError,
    NetworkError,
    StreamInterruptedError,
)
from neuroroute.hostlist import HostList, HostSettings
from neuroroute.settings import find_settings

OnStep: TypeAlias = Callable[[str], object]
"""Is told what is looked at next, in a few words."""

_TRIALS: Final[tuple[Check, ...]] = ("completion", "stream", "tool call", "structured output", "speed", "breaker")
_CHECKS: Final[tuple[Check, ...]] = ("server", "apis", "models", *_TRIALS)
_WORTH_A_STREAM: Final = (NetworkError, MalformedResponseError)
"""Failures of a whole answer after which a stream may well succeed."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long each check may take, in seconds."""

    page: float = 5.0
    """A connection, or an answer that no model makes."""
    answer: float = 60.0
    """An answer of the model."""
    load: float = 300.0
    """A load."""

    def __post_init__(self) -> None:
        for name in ("page", "answer", "load"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number of seconds over 0")


async def examine(
    base_url: HostList | None = None,
    *,
    model: str | None = None,
    api_token: str | None = None,
    tools: Sequence[object] = (),
    fix: bool = False,
    quick: bool = False,
    limits: Limits | None = None,
    ports: Sequence[int] | None = None,
    environ: Mapping[str, str] | None = None,
    machine: Callable[[], Machine] | None = None,
    on_step: OnStep | None = None,
    on_begun: Callable[[Callable[[], Report]], object] | None = None,
) -> Report:
    """Looks at servers, and tells what is wrong, why it matters and what to do.

    What goes wrong at a server is a finding, never an exception, and every wait ends. Unless ``fix`` is given, nothing
    is changed there: no model is loaded.

    Args:
        base_url: where they are, as an adapter takes it. Default: ``LMSTUDIO_URL``, else ``http://localhost:1234/v1``.
        model: the model that is to be asked. Default, as with ``auto``: the one that is loaded.
        api_token: the token. Default: ``LM_API_TOKEN``.
        tools: tool definitions, in the form of OpenAI's ``tools``, to be checked.
        fix: whether a model that is not loaded may be.
        quick: whether to ask no model anything.
        limits: how long each check may take.
        ports: where to look for a server that is not where it should be. Default: 1234, 11434 and 8080.
        environ: the environment. Default: this process's.
        machine: for tests; looks at the machine.
        on_step: is told what is looked at next.
        on_begun: is given a function that tells what was found so far, for whoever may stop it.

    Raises:
        ConfigurationError: an address, a hosts file or the token cannot be used.
    """
    environ = os.environ if environ is None else environ
    settings = find_settings(base_url=base_url, timeout_ms=None, api_token=api_token, app=None, environ=environ)
    examinations: list[_Examination] = []
    for host in settings.hosts:
        settled = msgspec.structs.replace(host, api_token=host.api_token or settings.api_token)
        one = _Examination(
            settled,
            model,
            limits or Limits(),
            environ,
            _steps(on_step, host.name if len(settings.hosts) > 1 else ""),
            machine or this_machine,
        )
        examinations.append(one)
    of_tools = tuple(check_tools(tools)) if tools else ()
    so_far: Callable[[], Report] = lambda: Report(hosts=tuple(one.report() for one in examinations), tools=of_tools)  # noqa: E731
    if on_begun is not None:
        on_begun(so_far)
    ports = USUAL_PORTS if ports is None else ports
    async with asyncio.TaskGroup() as group:
        for one in examinations:
            group.create_task(one.run(ports, fix=fix, quick=quick))
    return so_far()


def _steps(on_step: OnStep | None, host: str) -> OnStep:
    def tell(what: str) -> None:
        if on_step is not None:
            on_step(f"{host}: {what}" if host else what)

    return tell


class _Examination:
    """Of one host."""

    def __init__(
        self,
        host: HostSettings,
        model: str | None,
        limits: Limits,
        environ: Mapping[str, str],
        tell: OnStep,
        machine: Callable[[], Machine],
    ) -> None:
        self._host = host
        self._asked = model
        self._limits = limits
        self._environ = environ
        self._tell = tell
        self._machine = machine
        self._findings: list[Finding] = []
        self._errors: list[LMStudioError] = []
        self._phases = Phases()
        self._load_ms: float | None = None
        self._listed: list[ModelDetails] = []
        self._choice = Choice([], None, ready=False)
        self._over = False

    async def run(self, ports: Sequence[int], *, fix: bool, quick: bool) -> None:
        """Looks at it."""
        self._choice = await self._examine(ports, fix=fix, quick=quick)
        self._over = True

    def report(self) -> HostReport:
        """What was found so far."""
        findings, choice, token = [*self._findings], self._choice, self._host.api_token
        if not self._over:
            seen = {one.check for one in findings}
            findings += skipped([check for check in _CHECKS if check not in seen], "it was stopped")
        if choice.model is not None:
            findings = [with_model(one, choice.model, choice.model_id) for one in findings]
        return HostReport(
            name=self._host.name,
            url=self._host.url,
            model=choice.model_id or None,
            findings=tuple(_as_sent(token, one) for one in findings),
            phases=self._phases,
        )

    async def _examine(self, ports: Sequence[int], *, fix: bool, quick: bool) -> Choice:
        self._tell("is it there?")
        door = await look_at(self._host, within=self._limits.page, ports=ports)
        self._findings += reached(door, token=self._host.api_token is not None, environ=self._environ)
        if self._is_broken():
            self._skip(("apis", "models", *_TRIALS), "the server cannot be used", quick=quick)
            return Choice([], None, ready=False)
        choice = self._models(door)
        if fix and choice.model is not None and choice.loadable:
            choice = await self._load(choice, choice.model.key)
        if door.is_local:
            self._findings += of_machine(self._machine(), choice.model)
        if quick:
            return choice
        if choice.model is None or not choice.ready:
            why = "there is no model to ask" if choice.model is None else f"{choice.model.key} is not loaded"
            why += "; --fix loads it" if choice.loadable and not fix else ""
            self._skip(_TRIALS, why, quick=quick)
            return choice
        await self._try(choice, door)
        return choice

    def _is_broken(self) -> bool:
        return any(one.level == "problem" for one in self._findings)

    def _skip(self, checks: Sequence[Check], why: str, *, quick: bool) -> None:
        self._findings += skipped([check for check in checks if not quick or check not in _TRIALS], why)

    def _models(self, door: Door) -> Choice:
        source, self._listed = listed(door.pages) or ("openai", [])
        more = [path.rpartition("/")[2] for path, page in door.posts.items() if has_route(page)]
        lm_studio = who(door.pages) == "LM Studio"
        self._findings += apis(source, lm_studio=lm_studio, more=more)
        choice = chosen(
            self._listed,
            self._asked,
            on_request(door),
            can_load=source == "v1",
            hides=may_hide(self._listed, source, lm_studio=lm_studio),
            slots=self._host.slots,
        )
        self._findings += choice.findings
        return choice

    async def _load(self, choice: Choice, key: str) -> Choice:
        """Has the model loaded, and judges anew."""
        self._tell(f"loading {key}")
        adapter = self._adapter(key)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.load + self._limits.page):
                await adapter.warm_up(timeout_ms=self._limits.load * 1000)
                self._listed = await adapter.list_models()
        except (LMStudioError, TimeoutError) as error:
            failed = error if isinstance(error, LMStudioError) else ModelTimeoutError(f"{key} is still loading")
            self._findings = [one for one in self._findings if one not in choice.findings]
            self._findings.append(of_load(failed))
            self._errors.append(failed)
            return choice
        finally:
            await closed(adapter)
        self._load_ms = (time.monotonic() - began) * 1000
        self._findings = [one for one in self._findings if one not in choice.findings]
        what = f"loaded {key} in {self._load_ms / 1000:.1f} s, as --fix asks"
        self._findings.append(found("model-loaded-now", "models", what))
        again = chosen(self._listed, key, (), can_load=True, slots=self._host.slots)
        self._findings += again.findings
        return again

    async def _try(self, choice: Choice, door: Door) -> None:
        adapter = self._adapter(choice.model_id)
        trials = Trials(adapter, self._limits.answer)
        try:
            self._tell("a short answer")
            first = await trials.completion()
            self._take(first.error, of_completion(first))
            if first.error is not None and not isinstance(first.error, _WORTH_A_STREAM):
                self._skip(_TRIALS[1:-1], "the short answer failed", quick=False)
            else:
                await self._stream(choice, door)
                if first.error is None:
                    await self._more(trials, choice)
                else:
                    self._skip(("tool call", "structured output"), "the short answer failed", quick=False)
        finally:
            await closed(adapter)
        self._findings += of_failures(self._errors)

    async def _stream(self, choice: Choice, door: Door) -> None:
        self._tell("a stream")
        body = stream_request(choice.model_id)
        seen = await stream_seen(self._host, self._host.api_token, body, within=self._limits.answer)
        page_ms = quickest_ms(door)
        findings = of_stream(seen, page_ms=page_ms or 0.0)
        self._take(_error_of(seen), findings)
        if any(one.level == "problem" for one in findings):
            self._skip(("speed",), "the stream failed", quick=False)
            return
        connect = min((one.ms for one in door.tries if one.failure is None), default=None)
        self._phases = phases(seen, connect, self._load_ms, page_ms)
        context = choice.model.context_length if choice.model is not None else None
        self._findings += of_phases(self._phases, context)

    async def _more(self, trials: Trials, choice: Choice) -> None:
        self._tell("a tool call")
        call = await trials.tool_call()
        self._take(call.error, of_tool_call(call, choice.model, self._listed))
        self._tell("structured output")
        typed = await trials.structured()
        self._take(typed.error, of_structured(typed))

    def _take(self, error: LMStudioError | None, findings: Sequence[Finding]) -> None:
        self._findings += findings
        if error is not None:
            self._errors.append(error)

    def _adapter(self, model: str) -> LMStudioAdapter:
        return LMStudioAdapter(model, base_url=self._host, timeout_ms=self._limits.answer * 1000)


def _error_of(seen: StreamSeen) -> LMStudioError | None:
    """What the adapter would have raised, as far as the circuit breaker goes."""
    if seen.error is not None:
        return seen.error
    if seen.still_coming:
        return None
    if seen.failure == "timeout":
        return ModelTimeoutError("the stream did not end in time")
    if seen.failure is not None and not seen.deltas:
        return NetworkError("the connection was lost")
    if seen.failure is not None or (seen.is_stream and not seen.done and seen.finish_reason is None):
        return StreamInterruptedError("the stream broke off")
    return None


def _as_sent(token: str | None, finding: Finding) -> Finding:
    """The finding for who sent this token, or none.

    It is Unicode text, and has neither the token nor the secret half of it: a server may say anything.
    """
    if token is None and finding.code == "token-refused":
        finding = found("token-required", finding.check, finding.what)
    secrets: list[Any] = [token, token.partition(":")[2]] if token else []
    what, do = (text.encode("utf-8", "replace").decode() for text in (finding.what, finding.do))
    for secret in secrets:
        if secret and len(secret) > 3:
            what, do = what.replace(secret, "***"), do.replace(secret, "***")
    return msgspec.structs.replace(finding, what=what, do=do)
