"""The tools of a request: what is offered, whether a call fits, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

import msgspec

from neuroroute.errors import ModelInvalidRequestError, ToolFailedError, ToolUnknownError
from neuroroute.jsontypes import is_array, is_dict, is_mapping, is_series
from neuroroute.tools import arguments as checks
from neuroroute.tools.definitions import FunctionDefinition, ToolDefinition
from neuroroute.tools.functions import Tool, check_limit
from neuroroute.tools.results import a_value, as_text, bounded, reason

ToolItem: TypeAlias = Tool[..., Any] | Callable[..., Any] | ToolDefinition | Mapping[str, Any]
"""What may stand in ``tools``: a ``@tool`` or plain function, a definition, or a dict of its shape."""

_TIMEOUT_MS = 60_000
_MAX_BYTES = 65_536

_encode = msgspec.json.Encoder().encode
_MOST_KNOWN = 256
_known: dict[bytes, Toolbox] = {}
"""Toolboxes of plain definitions, by their JSON: requests offer the same ones again and again."""


class CheckedCall(msgspec.Struct, frozen=True):
    """A call whose tool is offered and whose arguments fit."""

    name: str
    """Which tool."""
    arguments: dict[str, Any]
    """Keyword arguments for its function."""

    def __repr__(self) -> str:
        return f"<CheckedCall {self.name}({', '.join(self.arguments)})>"


class Toolbox:
    """The tools of a request, in order, each name once.

    Cheap to make again for each request: what is read of a function, and a definition's JSON, are kept with them.

    Args:
        items: tools and functions, which can be run; definitions and dicts, which can only be offered.
        timeout_ms: milliseconds that a call may take, where its tool says nothing else.
        max_result_bytes: of UTF-8; what a tool gives beyond is cut, and the model is told how much.

    Raises:
        ModelInvalidRequestError: an item is no tool, or a name comes twice; says which: ``tools[2]...``.
    """

    def __init__(
        self, items: Iterable[ToolItem], *, timeout_ms: float = _TIMEOUT_MS, max_result_bytes: int = _MAX_BYTES
    ) -> None:
        check_limit(timeout_ms, "timeout_ms")
        size: object = max_result_bytes
        if type(size) is not int or size < 1:
            raise ModelInvalidRequestError(f"max_result_bytes must be a whole number of at least 1, not {size!r:.60}")
        if not is_series(items):
            raise ModelInvalidRequestError(f"tools must be a list of tools, not a value of type {type(items).__name__}")
        self.timeout_ms = timeout_ms
        self.max_result_bytes = max_result_bytes
        self._items: dict[str, Tool[..., Any] | ToolDefinition] = {}
        for index, value in enumerate(items):
            item = _read(value, f"tools[{index}]")
            if item.name in self._items:
                raise ModelInvalidRequestError(f"tools[{index}] is a second tool of the name {item.name!r}")
            self._items[item.name] = item
        self.definitions = tuple([item.definition if isinstance(item, Tool) else item for item in self._items.values()])
        """What the model is told of each."""
        self.wire = b"[%b]" % b",".join([definition.wire for definition in self.definitions])
        """The definitions as a JSON array, for the body of a request."""
        self._checks: dict[str, checks.Check] = {}

    @classmethod
    def of(cls, items: Iterable[ToolItem] | Toolbox) -> Toolbox:
        """The toolbox itself, or one of these items; definitions as dicts that come again give the one made before."""
        if isinstance(items, Toolbox):
            return items
        if not is_array(items) or not all(map(is_dict, items)):
            return cls(items)
        try:
            key = _encode(items)
        except (TypeError, ValueError, RecursionError):  # the constructor says what is wrong
            return cls(items)
        known = _known.get(key)
        if known is None:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            known = _known[key] = cls(items)
        return known

    @classmethod
    def of_functions(cls, functions: Any) -> Toolbox:
        """A toolbox of definitions in the older form, which have no ``type`` and ``function`` around them.

        Raises:
            ModelInvalidRequestError: names the definition: ``functions[2]...``.
        """
        if isinstance(functions, Toolbox):
            return functions
        if not is_series(functions):
            what = type(functions).__name__
            raise ModelInvalidRequestError(f"functions must be a list of definitions, not a value of type {what}")
        definitions = [FunctionDefinition.of(each, f"functions[{index}]") for index, each in enumerate(functions)]
        return cls([ToolDefinition(function=each) for each in definitions])

    def only(self, name: str) -> Toolbox:
        """A toolbox with this one alone."""
        return Toolbox([self._items[name]], timeout_ms=self.timeout_ms, max_result_bytes=self.max_result_bytes)

    @property
    def schemas(self) -> dict[str, Mapping[str, Any]]:
        """What each takes, by name."""
        return {definition.name: definition.function.parameters for definition in self.definitions}

    @classmethod
    def of_runnable(
        cls,
        items: Iterable[ToolItem] | Toolbox,
        *,
        timeout_ms: float | None = None,
        max_result_bytes: int | None = None,
    ) -> Toolbox:
        """A toolbox of tools that all can be run.

        Args:
            items: the tools.
            timeout_ms: as of ``Toolbox`` itself; None keeps that of the items, if they are a toolbox.
            max_result_bytes: likewise.

        Raises:
            ModelInvalidRequestError: as ``Toolbox`` itself, and for a definition without a function.
        """
        own = (items.timeout_ms, items.max_result_bytes) if isinstance(items, Toolbox) else (_TIMEOUT_MS, _MAX_BYTES)
        box = cls(
            items,
            timeout_ms=own[0] if timeout_ms is None else timeout_ms,
            max_result_bytes=own[1] if max_result_bytes is None else max_result_bytes,
        )
        for index, item in enumerate(box):
            if not isinstance(item, Tool):
                raise ModelInvalidRequestError(
                    f"tools[{index}] ({item.name}) has no function to run",
                    hint="Give the function itself, or Tool(function, parameters=...).",
                )
        return box

    @property
    def names(self) -> tuple[str, ...]:
        """What is offered."""
        return tuple(self._items)

    @property
    def runnable(self) -> tuple[str, ...]:
        """The names of those that have a function."""
        return tuple([name for name, item in self._items.items() if isinstance(item, Tool)])

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Tool[..., Any] | ToolDefinition]:
        return iter(self._items.values())

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __getitem__(self, name: str) -> Tool[..., Any]:
        item = self._items[name]
        if isinstance(item, Tool):
            return item
        raise KeyError(f"{name} is offered, but has no function")

    def __repr__(self) -> str:
        return f"<Toolbox {', '.join(self._items)}>"

    def check(self, name: str, arguments: str) -> CheckedCall:
        """A model's call, found to fit; nothing has run yet.

        Args:
            name: the tool that the model names.
            arguments: JSON text of an object; no text means no arguments. Nothing is coerced.

        Raises:
            ToolUnknownError: no such tool is offered; says which are.
            ToolArgumentsError: says which argument is wrong, and what would be right.
            ModelInvalidRequestError: the JSON schema of a definition without a function is none.
        """
        item = self._items.get(name)
        if item is None:
            offered = f"the tools are: {', '.join(self._items)}" if self._items else "there are no tools"
            raise ToolUnknownError(f"there is no tool {name!r:.80}; {offered}")
        if isinstance(item, Tool):
            return CheckedCall(name, item.check(arguments))
        if name not in self._checks:
            self._checks[name] = checks.by_schema(name, item.function.parameters)
        return CheckedCall(name, self._checks[name](arguments))

    async def run(self, call: CheckedCall) -> str:
        """The result of a call as text for the model: a text as it is, anything else as JSON, cut when it is too long.

        A sync function's thread cannot be stopped: past the time limit it goes on unheard.

        Raises:
            ToolFailedError: it raised (``__cause__``), took too long, gave what JSON cannot say, or has no function.
            CancelledError: passes through, if the caller was cancelled; an async function is cancelled with it.
        """
        item = self._items[call.name]
        if not isinstance(item, Tool):
            raise ToolFailedError(f"{call.name} has no function to run")
        limit_ms = self.timeout_ms if item.timeout_ms is None else item.timeout_ms
        limit = asyncio.timeout(limit_ms / 1000)
        try:
            async with limit:
                result = await item.run(call.arguments)
        except ToolFailedError as error:  # in words of its own
            told = bounded(error.message, self.max_result_bytes)
            if told == error.message:
                raise
            raise ToolFailedError(told, hint=error.hint, details=error.details) from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            raise ToolFailedError(f"{call.name} waited for something that was cancelled") from error
        except Exception as error:
            if limit.expired():
                raise ToolFailedError(f"{call.name} took longer than its limit of {limit_ms / 1000:g} s") from error
            told = f"{call.name} raised {type(error).__name__}{reason(error)}"
            raise ToolFailedError(bounded(told, self.max_result_bytes)) from error
        try:
            text = as_text(result)
        except Exception as error:
            told = f"{call.name} gave {a_value(result)} that cannot be told as JSON{reason(error)}"
            raise ToolFailedError(bounded(told, self.max_result_bytes)) from error
        return bounded(text, self.max_result_bytes)


def _read(value: Any, field: str) -> Tool[..., Any] | ToolDefinition:
    if isinstance(value, ToolDefinition) or is_mapping(value):
        return ToolDefinition.of(value, field)
    if not callable(value):
        what = type(value).__name__
        raise ModelInvalidRequestError(
            f"{field} must be a tool, a function, a ToolDefinition or a dict, not a value of type {what}"
        )
    try:
        tool = Tool.of(cast("Callable[..., Any]", value))
    except ModelInvalidRequestError as error:
        raise ModelInvalidRequestError(f"{field}: {error.message}", hint=error.hint) from error
    if tool.needs_object:
        raise ModelInvalidRequestError(
            f"{field} ({tool.name}) is a method without its object", hint=f"Give it as thing.{tool.name}."
        )
    return tool
