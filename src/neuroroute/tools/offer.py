"""What one request offers the model to call, in the words that LM Studio takes.

``tool_choice`` is a text there (an object is a 400, #670), so one named function is "required" with that tool alone;
``functions`` and ``function_call`` are ignored there, so they are said as tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_mapping
from neuroroute.tools.toolbox import Toolbox

ToolChoice: TypeAlias = Literal["auto", "none", "required"] | Mapping[str, Any]
FunctionChoice: TypeAlias = Literal["auto", "none"] | Mapping[str, str]


class Offer(NamedTuple):
    """What a request offers."""

    tools: Toolbox
    choice: str
    """``auto`` or ``required``."""
    legacy: bool
    """The caller spoke of functions, so the answer's call is a ``function_call``."""
    rewritten: str = ""
    """What was said in other words than the caller's, if anything."""


def offered(options: Mapping[str, Any]) -> Offer | None:
    """What these options offer; None when there is nothing to call.

    Raises:
        ModelInvalidRequestError: functions and tools together, or a choice of what is not offered.
    """
    tools: Toolbox | None = options["tools"]
    functions: Toolbox | None = options["functions"]
    if tools and functions:
        raise ModelInvalidRequestError("functions and tools were both given", hint="Give one of them; tools is newer.")
    if functions:
        return _offer(functions, options["function_call"], "function_call", legacy=True)
    if options["function_call"] not in (None, "auto", "none"):
        raise ModelInvalidRequestError("function_call names a function, but functions were not given")
    choice = options["tool_choice"]
    if tools:
        return _offer(tools, choice, "tool_choice", legacy=False)
    if choice not in (None, "auto", "none"):
        raise ModelInvalidRequestError("tool_choice asks for a call, but tools were not given")
    return None


def _offer(tools: Toolbox, choice: Any, field: str, *, legacy: bool) -> Offer | None:
    if choice == "none":
        return None
    if choice in (None, "auto", "required"):
        return Offer(tools, choice or "auto", legacy)
    name = _named(choice)
    if name not in tools:
        raise ModelInvalidRequestError(
            f"{field} names {name!r:.80}, which is not offered; there are: {', '.join(tools.names)}"
        )
    if legacy:
        return Offer(tools.only(name), "required", legacy)
    return Offer(tools.only(name), "required", legacy, f"tool_choice: 'required' with {name!r} alone was sent")


def _named(choice: Any) -> Any:
    function = choice.get("function", choice)
    return function.get("name") if is_mapping(function) else None


def is_tool_choice(value: Any) -> bool:
    """One of the words, or ``{"type": "function", "function": {"name": ...}}``."""
    if is_mapping(value):
        return value.get("type", "function") == "function" and is_mapping(value.get("function")) and bool(_named(value))
    return value in ("auto", "none", "required")


def is_function_call(value: Any) -> bool:
    """One of the words, or ``{"name": ...}``."""
    if is_mapping(value):
        return isinstance(value.get("name"), str) and len(value) == 1
    return value in ("auto", "none")
