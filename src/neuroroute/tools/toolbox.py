"""Toolbox: the tools that one request offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard
from weakref import WeakKeyDictionary

import msgspec

from neuroroute.errors import ModelInvalidRequestError, ToolFailedError, ToolUnknownError
from neuroroute.jsontypes import is_mapping, is_series
from neuroroute.schemas.types import is_pydantic_model
from neuroroute.tools.definitions import ToolDefinition, function_definition, tool_definition
from neuroroute.tools.functions import Tool

ToolLike: TypeAlias = Tool[..., Any] | ToolDefinition | Mapping[str, Any] | Callable[..., Any]
"""What may be offered: a ``@tool``, a plain function, a definition, or a dict of a definition's shape."""

_made: WeakKeyDictionary[Callable[..., Any], Tool[..., Any]] = WeakKeyDictionary()
"""Tools of plain functions, so that a function is read once."""

_encode = msgspec.json.Encoder().encode


class Toolbox:
    """Tools under their names. Those that have a function can be run; a definition alone can only be offered."""

    __slots__ = ("_definitions", "_tools", "wire")

    def __init__(self, items: Iterable[ToolLike], field: str = "tools") -> None:
        """Reads and checks them.

        Raises:
            ModelInvalidRequestError: names the item and what would be right; also for two of one name.
        """
        if not is_series(items):
            raise ModelInvalidRequestError(f"{field} must be a list of tools, not of type {type(items).__name__}")
        self._tools: dict[str, Tool[..., Any]] = {}
        self._definitions: dict[str, ToolDefinition] = {}
        sent: list[Any] = []
        for index, item in enumerate(items):
            place = f"{field}[{index}]"
            made = _tool(item)
            definition = tool_definition(item, place) if made is None else made.definition
            name = definition.function.name
            if name in self._definitions:
                raise ModelInvalidRequestError(f"{place} has the name {name!r}, as another of {field} has")
            self._definitions[name] = definition
            if made is not None:
                self._tools[name] = made
            sent.append(item if is_mapping(item) else definition)
        try:
            self.wire = msgspec.Raw(_encode(sent))
        except (TypeError, ValueError, RecursionError) as error:
            raise ModelInvalidRequestError(f"{field} cannot be sent as JSON: {error}") from error

    @classmethod
    def of(cls, items: Any) -> Toolbox:
        """The toolbox itself, or a new one of these items."""
        return items if isinstance(items, cls) else cls(items)

    @classmethod
    def of_functions(cls, functions: Any) -> Toolbox:
        """A toolbox of definitions in the older form, without ``type`` and ``function`` around them.

        Raises:
            ModelInvalidRequestError: names the definition and what would be right.
        """
        if isinstance(functions, cls):
            return functions
        if not is_series(functions):
            raise ModelInvalidRequestError("functions must be a list of function definitions")
        definitions = [function_definition(item, f"functions[{at}]") for at, item in enumerate(functions)]
        return cls([ToolDefinition(function=one) for one in definitions], "functions")

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """What the model is told of each."""
        return tuple(self._definitions.values())

    @property
    def schemas(self) -> dict[str, Mapping[str, Any]]:
        """What each takes, by name."""
        return {name: one.function.parameters for name, one in self._definitions.items()}

    def __len__(self) -> int:
        return len(self._definitions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def __contains__(self, name: object) -> bool:
        return name in self._definitions

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(self._definitions) or 'empty'}>"

    def only(self, name: str) -> Toolbox:
        """A toolbox with this one alone."""
        item: ToolLike = self._tools.get(name) or self._definitions[name]
        return Toolbox([item])

    def require_functions(self, field: str = "tools") -> None:
        """Sees that every tool can be run.

        Raises:
            ModelInvalidRequestError: names the first that has only a definition.
        """
        for index, name in enumerate(self._definitions):
            if name not in self._tools:
                raise ModelInvalidRequestError(
                    f"{field}[{index}] ({name}) is a definition without a function to run",
                    hint="Give the function itself, or Tool(function, name=..., parameters={...}).",
                )

    def find(self, name: str) -> Tool[..., Any]:
        """The tool that a model called.

        Raises:
            ToolUnknownError: none of that name is offered; tells the model which are.
        """
        if name not in self._tools:
            raise ToolUnknownError(f"there is no function {name!r:.80}; there are: {', '.join(self._tools) or 'none'}")
        return self._tools[name]


def is_tool(item: object) -> TypeGuard[Tool[..., Any]]:
    """A tool that was made already."""
    return isinstance(item, Tool)


def _tool(item: Any) -> Tool[..., Any] | None:
    """The tool that this is or becomes; None for a definition."""
    if is_tool(item):
        return item
    if isinstance(item, ToolDefinition) or is_mapping(item) or not callable(item) or isinstance(item, type):
        return None
    made: Tool[..., Any] | None = None
    try:
        made = _made.get(item)
        if made is None:
            made = _made[item] = Tool(item)
    except TypeError:  # an object that cannot be remembered
        made = made or Tool(item)
    return made


def result_text(result: Any, name: str, max_bytes: int) -> str:
    """What a tool gave as text for the model: a text as it is, all else as JSON; cut where it is longer than the limit.

    Args:
        result: what the function returned.
        name: the tool's, for the error.
        max_bytes: of UTF-8.

    Raises:
        ToolFailedError: it has no JSON form.
    """
    if isinstance(result, str):
        text = result
    else:
        try:
            text = msgspec.json.encode(result, enc_hook=_builtins).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ToolFailedError(f"what the function {name} returned cannot be told as JSON: {error}") from error
    whole = text.encode("utf-8", "replace")
    if len(whole) <= max_bytes:
        return whole.decode()
    return f"{whole[:max_bytes].decode('utf-8', 'ignore')}\n[cut: the first {max_bytes} of {len(whole)} bytes]"


def _builtins(value: Any) -> Any:
    kind: type[object] = value.__class__
    if is_pydantic_model(kind):
        return value.model_dump(mode="json")
    raise TypeError(f"a value of type {kind.__name__} has no JSON form")
