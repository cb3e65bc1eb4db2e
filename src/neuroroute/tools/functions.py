"""A tool: a function that a model may call, with what it says of itself, and what must hold before it runs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from neuroroute.errors import ModelInvalidRequestError, ToolArgumentsError, ToolFailedError
from neuroroute.jsontypes import is_mapping
from neuroroute.schemas.checks import check_of, finite
from neuroroute.schemas.types import converted
from neuroroute.tools.definitions import FunctionDefinition, ToolDefinition, checked_name, function_definition
from neuroroute.tools.signature import signature_of

P = ParamSpec("P")
R = TypeVar("R")


class Tool(Generic[P, R]):
    """A function that a model may call. It stays callable as it was.

    Types come from its annotations, texts from its docstring; with ``parameters`` a JSON Schema says instead what it
    takes. Made by :func:`tool`, or by itself for functions of others::

        Tool(lookup, name="lookup", parameters={"type": "object", "properties": {"key": {"type": "string"}}})
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout_ms: float | None = None,
        local_names: Mapping[str, Any] | None = None,
    ) -> None:
        """Reads the function.

        Args:
            function: async, or else run in a thread.
            name: default: the function's.
            description: default: its docstring, above the parameters.
            parameters: a JSON Schema for its arguments; default: from its signature.
            timeout_ms: how long it may take. Default: the loop's.
            local_names: names that its annotations may use beside those of its module.

        Raises:
            ModelInvalidRequestError: the function cannot be a tool; says why.
        """
        if not callable(function):
            raise ModelInvalidRequestError(f"a tool must be a function, not a value of type {type(function).__name__}")
        self.function = function
        self.name = checked_name(name or getattr(function, "__name__", type(function).__name__), "the tool's name")
        self.timeout_ms = _milliseconds(timeout_ms, self.name)
        self._given = (description, parameters, local_names)
        functools.update_wrapper(self, function)
        if not _is_method(function):  # of a method, what it takes is known once it is bound
            self._facts  # noqa: B018 - so that what is wrong is found where it is written

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function as any other."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Tool[..., R]:
        if instance is None:
            return self
        description, parameters, local_names = self._given
        return Tool(
            self.function.__get__(instance, owner),
            name=self.name,
            description=description,
            parameters=parameters,
            timeout_ms=self.timeout_ms,
            local_names=local_names,
        )

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"

    @property
    def definition(self) -> ToolDefinition:
        """What the model is told of it."""
        return self._facts[0]

    @property
    def description(self) -> str:
        """What it does, in the model's words."""
        return self.definition.function.description

    def check(self, arguments: str) -> dict[str, Any]:
        """The arguments of a call as the function takes them, strictly: nothing is coerced, nothing unknown is let by.

        Args:
            arguments: JSON text as the model wrote it; empty means ``{}``.

        Raises:
            ToolArgumentsError: says what is wrong, for the model to correct itself.
        """
        given = _object(arguments, self.name)
        _, arguments_type, schema_check = self._facts
        if schema_check is not None:
            if problems := schema_check(given):
                raise _wrong(self.name, "; ".join(problems))
            return given
        try:
            values = converted(given, arguments_type)
        except msgspec.ValidationError as error:
            raise _wrong(self.name, str(error)) from error
        return {
            name: value for name in values.__struct_fields__ if (value := getattr(values, name)) is not msgspec.UNSET
        }

    async def run(self, arguments: Mapping[str, Any], timeout_ms: float | None = None) -> Any:
        """Runs it with arguments that were checked.

        A function that is not async runs in a thread, with the caller's context variables; past its limit it is not
        waited for, but a thread cannot be stopped.

        Args:
            arguments: from :meth:`check`.
            timeout_ms: the limit where the tool has none of its own; None: no limit.

        Raises:
            ToolFailedError: it raised (``__cause__``), or took too long.
        """
        call: Callable[..., Any] = self.function
        limit = self.timeout_ms or timeout_ms
        timer = asyncio.timeout(None if limit is None else limit / 1000)
        try:
            async with timer:
                if _is_async(call):
                    return await call(**arguments)
                found = await asyncio.to_thread(call, **arguments)
                return await found if inspect.isawaitable(found) else found
        except Exception as error:
            if timer.expired() and isinstance(error, TimeoutError):
                raise ToolFailedError(f"the function {self.name} took longer than {limit:g} ms") from error
            raise ToolFailedError(f"the function {self.name} failed: {type(error).__name__}: {error}") from error

    @functools.cached_property
    def _facts(self) -> tuple[ToolDefinition, Any, Callable[[Any], list[str]] | None]:
        """The definition, and what arguments are checked by: a type, or a schema."""
        description, parameters, local_names = self._given
        if parameters is not None:
            text = description if description is not None else inspect.getdoc(self.function) or ""
            definition = function_definition(
                {"name": self.name, "description": text, "parameters": parameters}, f"the tool {self.name}"
            )
            try:
                check = check_of(closed(definition.parameters))
            except ValueError as error:
                raise ModelInvalidRequestError(f"the parameters of {self.name} are no JSON schema: {error}") from error
            return ToolDefinition(function=definition), None, check
        found = signature_of(self.function, self.name, local_names)
        text = found.description if description is None else description
        definition = FunctionDefinition(name=self.name, description=text, parameters=found.parameters)
        return ToolDefinition(function=definition), found.arguments, None


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object, which refuses what it does not name unless it says itself what else it takes."""
    says = {"additionalProperties", "patternProperties", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "$ref"}
    return {**schema} if says & schema.keys() else {**schema, "additionalProperties": False}


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout_ms: float | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_ms: float | None = None,
) -> Any:
    """Makes a function one that a model may call; ``@tool`` alone, or with arguments.

    ::

        @tool
        def get_weather(city: Annotated[str, "such as Paris"], unit: Literal["celsius", "fahrenheit"] = "celsius"):
            "The weather of a city, now."

    Args:
        function: what follows ``@tool``.
        name: what the model calls it. Default: its own name.
        description: what it does. Default: the text of its docstring above the parameters.
        timeout_ms: how long one call may take.

    Raises:
        ModelInvalidRequestError: a parameter that cannot be given by name, or whose type has no JSON form.
    """
    local_names = dict(sys._getframe(1).f_locals)  # pyright: ignore[reportPrivateUsage]

    def made(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, name=name, description=description, timeout_ms=timeout_ms, local_names=local_names)

    return made if function is None else made(function)


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _is_method(function: object) -> bool:
    first = next(iter(inspect.signature(function).parameters), None) if inspect.isfunction(function) else None
    return first in ("self", "cls")


def _milliseconds(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise ModelInvalidRequestError(f"timeout_ms of the tool {name} must be a number of milliseconds over 0")
    return value


def _object(arguments: str, name: str) -> dict[str, Any]:
    if not arguments.strip():
        return {}
    try:
        given = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _wrong(name, f"they are no JSON ({error})") from error
    if not is_mapping(given):
        raise _wrong(name, "they must be a JSON object, with one member for each parameter")
    if not finite(given):
        raise _wrong(name, "a number in them is not finite")
    return dict(given)


def _wrong(name: str, why: str) -> ToolArgumentsError:
    return ToolArgumentsError(f"the arguments of {name} are not right: {why}")
