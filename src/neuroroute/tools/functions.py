"""Functions as tools: ``@tool``, and what it makes."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, cast, overload
from weakref import WeakKeyDictionary

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_text
from neuroroute.tools import arguments as checks
from neuroroute.tools.callables import check_function, name_of
from neuroroute.tools.definitions import NAME_RULE, FunctionDefinition, ToolDefinition, is_tool_name
from neuroroute.tools.running import call
from neuroroute.tools.signature import read_docstring, read_signature

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
S = TypeVar("S")


class _Plan(NamedTuple):
    definition: ToolDefinition
    check: checks.Check
    has_receiver: bool


_plans: WeakKeyDictionary[FunctionType, dict[bool, _Plan]] = WeakKeyDictionary()
"""By function, and whether bound. Plans do not hold the function, else it would live for ever."""


class Tool(Generic[P, R]):
    """A function that a model may call; called by you, it is the function.

    Its description and those of its parameters come from the docstring (Google, NumPy or Sphinx style) and from
    ``Annotated[T, "..."]``, which wins; the JSON schema of its parameters from the signature. It may be a method.

    ``async`` functions are awaited; others run in a thread of their own, with the caller's context variables. A thread
    cannot be stopped: past its time limit it goes on, but nobody waits for it, and its result is dropped.

    Args:
        function: takes its arguments by name.
        name: for the model; default: the function's name.
        description: for the model; default: the docstring's text above its section of arguments.
        parameters: a JSON schema of the arguments, checked in place of the signature; the function then gets plain JSON
            values as keyword arguments. References to other documents are not followed, and unknown arguments are
            refused unless the schema has ``additionalProperties``.
        timeout_ms: milliseconds that a call may take; default: the toolbox's.

    Raises:
        ModelInvalidRequestError: a name, parameter, type, schema or limit that cannot be used; says which.
    """

    timeout_ms: float | None
    """Milliseconds that a call may take; None leaves it to the toolbox."""
    _function: Callable[P, R]

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        timeout_ms: float | None = None,
    ) -> None:
        function = self._untooled(function)
        if timeout_ms is not None:
            check_limit(timeout_ms, "timeout_ms")
        check_function(function)
        # What an object or a partial holds is its own, and could hide what a tool has.
        functools.update_wrapper(self, function, updated=("__dict__",) if inspect.isroutine(function) else ())
        self._function = function
        self.timeout_ms = timeout_ms
        self._plan = _plan(function, name, description, parameters)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Tool[..., Any]:
        """The tool that this is, or one made of this function; what is read of a function is kept as long as it."""
        if isinstance(function, Tool):
            return cast("Tool[..., Any]", function)
        written: object = getattr(function, "__func__", None)
        if isinstance(written, Tool) and isinstance(function, MethodType):  # @classmethod above @tool
            return cast("Tool[..., Any]", written).__get__(function.__self__)
        return cls(function)

    @staticmethod
    def _untooled(function: Any) -> Any:
        return cast("Tool[..., Any]", function)._function if isinstance(function, Tool) else function

    @property
    def name(self) -> str:
        """What the model calls it."""
        return self._plan.definition.function.name

    @property
    def description(self) -> str:
        """What the model is told of it."""
        return self._plan.definition.function.description

    @property
    def definition(self) -> ToolDefinition:
        """All that the model is told: name, description, parameters."""
        return self._plan.definition

    @property
    def needs_object(self) -> bool:
        """Whether it is a method whose object is not known: take it from the object, ``thing.method``."""
        return self._plan.has_receiver

    def check(self, arguments: str) -> dict[str, Any]:
        """The keyword arguments for the function from the JSON text of a call.

        Raises:
            ToolArgumentsError: says what would be right.
        """
        return self._plan.check(arguments)

    async def run(self, arguments: dict[str, Any]) -> Any:
        """What the function gives for checked arguments, without time limit.

        Raises:
            Exception: what the function raised.
        """
        return await call(self._function, arguments)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function."""
        return self._function(*args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Tool[P, R]: ...
    @overload
    def __get__(self: Tool[Concatenate[S, Q], R], instance: S, owner: type | None = None) -> Tool[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Tool[..., Any]:
        if instance is None or not self.needs_object:
            return self
        bound = cast("Tool[..., Any]", copy.copy(self))
        bound._function = MethodType(self._function, instance)
        vars(bound)["__wrapped__"] = bound._function  # what inspect looks at
        bound._plan = self._plan._replace(has_receiver=False)
        return bound

    def __repr__(self) -> str:
        return f"<Tool {self.name}({', '.join(self.definition.function.parameters['properties'])})>"


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
    **unknown: Any,
) -> Any:
    """Makes a function a tool: ``@tool`` or ``@tool(name=..., description=..., timeout_ms=...)``; see :class:`Tool`.

    Raises:
        ModelInvalidRequestError: a name, parameter or type that cannot be used; says which.
    """
    if unknown:
        raise ModelInvalidRequestError(
            f"@tool has no option {next(iter(unknown))!r}",
            hint="It takes name, description and timeout_ms (in milliseconds).",
        )
    if is_text(function):
        raise ModelInvalidRequestError(
            f"@tool takes no text as it is, such as {function!r:.80}", hint="Write @tool(name=...)."
        )

    def make(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, name=name, description=description, timeout_ms=timeout_ms)

    return make if function is None else make(function)


def check_limit(value: object, field: str) -> None:
    """Sees that a time limit is one.

    Raises:
        ModelInvalidRequestError: names the field.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1e12:
        raise ModelInvalidRequestError(f"{field} must be a number of milliseconds over 0, not {value!r:.60}")


def _plan(
    function: Callable[..., Any], name: str | None, description: str | None, parameters: Mapping[str, Any] | None
) -> _Plan:
    if name is not None or description is not None or parameters is not None:
        return _made(function, name, description, parameters)
    written = function.__func__ if isinstance(function, MethodType) else function
    if not isinstance(written, FunctionType):
        return _made(function, name, description, parameters)
    plans = _plans.setdefault(written, {})
    bound = written is not function
    if bound not in plans:
        plans[bound] = _made(function, name, description, parameters)
    return plans[bound]


def _made(
    function: Callable[..., Any], name: str | None, description: str | None, parameters: Mapping[str, Any] | None
) -> _Plan:
    name = name_of(function) if name is None else name
    if not is_tool_name(name):
        raise ModelInvalidRequestError(
            f"{name!r:.80} cannot be the name of a tool: it must be {NAME_RULE}",
            hint="Give it one with @tool(name=...) or Tool(function, name=...).",
        )
    documented = read_docstring(function)
    description = documented.description if description is None else description
    try:
        if parameters is not None:
            definition = FunctionDefinition(name=name, description=description, parameters=dict(parameters))
            return _Plan(ToolDefinition(function=definition), checks.by_schema(name, definition.parameters), False)
        signature = read_signature(function, documented.parameters)
        definition = FunctionDefinition(name=name, description=description, parameters=signature.parameters)
    except ModelInvalidRequestError as error:
        raise ModelInvalidRequestError(f"tool {name}: {error.message}", hint=error.hint) from error
    check = checks.by_type(name, signature.struct, definition.parameters)
    return _Plan(ToolDefinition(function=definition), check, signature.has_receiver)
