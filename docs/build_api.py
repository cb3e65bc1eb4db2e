"""Builds docs/api.md from the docstrings, so that the reference cannot drift from the code: ``make docs``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import griffe
from building import build

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "api.md"

SECTIONS = {
    "Adapters": [
        "LMStudioAdapter",
        "SyncLMStudioAdapter",
        "RequestOptions",
        "RetryPolicy",
        "BreakerPolicy",
        "HostSettings",
        "HostStatus",
        "ModelStatus",
        "Breaker",
        "Clock",
    ],
    "Answers": [
        *("ModelResponse", "StreamingChunk", "TokenUsage", "Stats", "Note", "ToolCallFragment", "ServerCall"),
        "Embeddings",
    ],
    "Streams": ["CompletionStream", "ChunkStream", "SyncCompletionStream", "SyncChunkStream"],
    "Messages": [
        *("ChatMessage", "SystemMessage", "UserMessage", "AssistantMessage", "FunctionMessage", "ToolMessage"),
        *("AnyMessage", "TextPart", "ImagePart", "FunctionCall", "ToolCall"),
    ],
    "Tools": [
        "tool",
        "Tool",
        "Toolbox",
        "ToolDefinition",
        "FunctionDefinition",
        "MCPServer",
        "ToolStream",
        "SyncToolStream",
    ],
    "Conversations": [
        *("Conversation", "SyncConversation", "TurnStream", "SyncTurnStream", "ContextBudget", "PartialJSON")
    ],
    "Stores": ["ConversationStore", "SQLiteStore", "MemoryStore", "SavedConversation", "ConversationSummary"],
    "Caches": ["MemoryCache", "SQLiteCache", "ResponseCache"],
    "Checks and guards": ["InputChecks", "Guard"],
    "Models": [
        *("ModelDetails", "ModelInstance", "Capability", "LoadedModel", "DownloadedModel", "ModelProgress"),
    ],
    "Events": [
        *("Observer", "Event", "RequestStarted", "RequestEnded", "AttemptStarted", "AttemptEnded", "BackingOff"),
        *(
            "Queued",
            "Admitted",
            "LeftQueue",
            "ToolRan",
            "CallsSalvaged",
            "ContentEvent",
            "PromptSent",
            "AnswerReceived",
        ),
        *("BreakerChanged", "ModelLoading", "ModelReloaded", "Hedged"),
        *("LoggingObserver", "JSONFormatter", "telemetry.otel.OpenTelemetryObserver"),
        "telemetry.prometheus.PrometheusObserver",
        *("FailedOver", "HostChanged", "StreamContinued", "ModelLoaded", "ModelUnloaded", "ModelDownloaded"),
        *("PromptProcessing", "CacheLooked", "CacheStored", "GuardRefused"),
    ],
}


def page() -> str:
    """The whole reference."""
    package = griffe.load("neuroroute", search_paths=[ROOT / "src"], docstring_parser="google", resolve_aliases=True)
    lines = [
        "# API reference",
        "",
        "Made by `make docs` from the docstrings; every name is imported from `neuroroute`, or from the module shown.",
        "",
    ]
    for title, names in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _described(name, package[name])
    lines += ["## Errors", "", *_block((package["errors"].docstring or _NOTHING).value), ""]
    lines += _members(package["LMStudioError"])
    return "\n".join(lines).rstrip() + "\n"


_SAME_CONSTRUCTOR = ("SyncLMStudioAdapter",)


class _Nothing:
    value = ""


_NOTHING = _Nothing()


def _described(name: str, item: griffe.Object | griffe.Alias) -> list[str]:
    lines = [f"### {name}", ""]
    if item.is_attribute:
        return [*lines, f"`{item.value}`", ""]
    if item.is_function:
        return [*lines, "```python", _signature(name, item), "```", "", *_block((item.docstring or _NOTHING).value), ""]
    if bases := [str(base) for base in item.bases if str(base) not in ("Protocol", "TypedDict")]:
        lines += [f"*{', '.join(_plain(base) for base in bases)}*", ""]
    lines += [*_block((item.docstring or _NOTHING).value), "", *_members(item)]
    return lines


def _members(item: griffe.Object | griffe.Alias) -> list[str]:
    attributes: list[str] = []
    functions: list[str] = []
    members = item.members if item.name in _SAME_CONSTRUCTOR else item.all_members
    for name, member in members.items():
        if name.startswith("_") and name != "__init__":
            continue
        if member.is_function and member.docstring is not None:
            signature = ["```python", _signature(name, member), "```"]
            functions += [f"#### {name.strip('_')}", "", *signature, "", *_block(member.docstring.value), ""]
        elif member.is_attribute and member.annotation:
            said = " ".join((member.docstring or _NOTHING).value.replace("``", "`").split())
            attributes.append(f"- **`{name}`**: `{_plain(str(member.annotation))}`" + (f" — {said}" if said else ""))
    return [*attributes, *([""] if attributes else []), *functions]


def _signature(name: str, function: griffe.Function) -> str:
    shown = []
    named = False
    for parameter in function.parameters:
        if parameter.name == "self":
            continue
        if parameter.kind is griffe.ParameterKind.keyword_only and not named:
            shown.append("*")
            named = True
        star = {"variadic positional": "*", "variadic keyword": "**"}.get(str(getattr(parameter.kind, "value", "")), "")
        text = star + parameter.name + (f": {_plain(str(parameter.annotation))}" if parameter.annotation else "")
        shown.append(text + (f" = {parameter.default}" if parameter.default and not star else ""))
    returns = f" -> {_plain(str(function.returns))}" if function.returns else ""
    prefix = "async def " if "async" in function.labels else "def "
    line = f"{prefix}{name}({', '.join(shown)}){returns}"
    if len(line) <= 110:
        return line
    return f"{prefix}{name}(\n" + "".join(f"    {text},\n" for text in shown) + f"){returns}"


def _plain(annotation: str) -> str:
    return re.sub(r"\b(?:[a-z_]+\.)+([A-Z])", r"\1", annotation)


def _block(text: str) -> list[str]:
    """A docstring as Markdown: literal blocks fenced, sections as lists, roles as code."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?([\w]+)`", r"`\1`", text).replace("``", "`")
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.strip() == "::":
            lines.append("```")
            fenced = True
            continue
        if fenced and lines[-1] == "```" and not line:
            continue
        if fenced and line and not line.startswith(" "):
            lines[-1:] = ["```", ""] if not lines[-1] else [lines[-1], "```"]
            fenced = False
        if not fenced and re.fullmatch(r"(Args|Raises|Returns):", line):
            lines += [f"**{line}**", ""]
        elif not fenced and (entry := re.match(r"    (\*{0,2}\w+): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(line[4:] if fenced and line.startswith("    ") else line.removeprefix("      "))
    return [*lines, "```"] if fenced else lines


if __name__ == "__main__":
    sys.exit(build(page(), PAGE))
