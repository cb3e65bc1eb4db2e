"""PURE: what the answers of the trials say of the model."""

from __future__ import annotations

from collections.abc import Sequence

from neuroroute.details import ModelDetails
from neuroroute.doctor.codes import Check
from neuroroute.doctor.failed import of_error
from neuroroute.doctor.findings import Finding, found
from neuroroute.doctor.modelcheck import trained_for_tools
from neuroroute.doctor.trials import WEATHER, Trial
from neuroroute.errors import LMStudioError, StructuredOutputError
from neuroroute.responses import ModelResponse
from neuroroute.tools.toolbox import Toolbox


def of_completion(trial: Trial) -> list[Finding]:
    """What a few words say."""
    if trial.response is None:
        return _failed(trial, "completion")
    answer = trial.response
    findings = [found("completion-works", "completion", f"{answer.model} answers in {answer.processing_time:.1f} s")]
    if not answer.text.strip() and answer.reasoning:
        findings = [found("answer-all-reasoning", "completion", f"{answer.model} answered with reasoning only")]
    if trial.healed is not None:
        was = of_error(trial.healed, "completion")
        what = f"the first request failed ({was.code}: {was.what}); the second was answered"
        findings.append(found("completion-retried", "completion", what))
    if _has(answer, "DIFFERENT_MODEL"):
        what = f"{answer.model} answered, which was not asked"
        findings.append(found("model-other-answered", "completion", what, do="Name the model that is to answer."))
    return findings


def of_tool_call(trial: Trial, model: ModelDetails | None, models: Sequence[ModelDetails]) -> list[Finding]:
    """Whether the model calls a tool that is offered, and calls it right."""
    if trial.response is None:
        return _failed(trial, "tool call")
    answer = trial.response
    called = bool(answer.tool_calls)
    findings: list[Finding] = []
    if model is not None and model.lacks("tool_use"):
        others = trained_for_tools([one for one in models if one.key != model.key])
        do = f"Take one that is: {others}." if others else "Download one that is: LM Studio marks them with a hammer."
        what = f"the server says that {model.key} is not trained for tools"
        findings.append(found("tools-not-trained", "tool call", what, do=do))
    elif not called:
        findings.append(found("tools-not-called", "tool call", f"{answer.model} did not call the tool it was offered"))
    if not called:
        return findings
    if (wrong := _wrong_call(answer)) is not None:
        return [*findings, wrong]
    if trial.told:
        what = f"{answer.model} calls a tool only when the system message says so"
        findings.append(found("tools-need-telling", "tool call", what))
    else:
        findings.append(found("tools-work", "tool call", f"{answer.model} called the tool it was offered"))
    if _has(answer, "CALLS_SALVAGED"):
        findings.append(found("tools-left-as-text", "tool call", f"{answer.model} wrote its call into the text"))
    return findings


def of_structured(trial: Trial) -> list[Finding]:
    """Whether the answer keeps to a schema."""
    if trial.response is not None:
        return [found("structured-works", "structured output", "the answer keeps to the schema")]
    if isinstance(trial.error, StructuredOutputError):
        return [found("structured-not-kept", "structured output", "the answer did not keep to the schema")]
    return _failed(trial, "structured output")


def _failed(trial: Trial, check: Check) -> list[Finding]:
    error = trial.error or LMStudioError("no answer")
    return [of_error(error, check)]


def _wrong_call(answer: ModelResponse) -> Finding | None:
    toolbox = Toolbox.of([WEATHER])
    for call in answer.tool_calls:
        try:
            toolbox.check(call.function.name, call.function.arguments)
        except LMStudioError as error:
            return found("tools-wrong-call", "tool call", f"{answer.model} called a tool wrongly ({error.code})")
    return None


def _has(answer: ModelResponse, code: str) -> bool:
    return any(note.code == code for note in answer.notes)
