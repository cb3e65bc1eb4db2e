"""What a function's signature and docstring say of it as a tool."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_text
from neuroroute.schemas.types import schema_of, to_json
from neuroroute.tools.callables import without_partials

_REFUSED = (TypeError, ValueError, NameError, AttributeError, RuntimeError)
"""What msgspec and pydantic raise for a type that they have no schema for."""

_NOT_BY_NAME = {
    inspect.Parameter.POSITIONAL_ONLY: "it must be taken by name, too: remove the / of the signature",
    inspect.Parameter.VAR_POSITIONAL: "a model gives arguments by name: take a list instead",
    inspect.Parameter.VAR_KEYWORD: "name each one, or give their JSON schema: Tool(function, parameters=...)",
}


class Documentation(NamedTuple):
    """What a docstring says."""

    description: str
    """The text above its section of arguments."""
    parameters: Mapping[str, str]


class Signature(NamedTuple):
    """A function as a tool."""

    parameters: dict[str, Any]
    """JSON schema of the arguments."""
    struct: type[msgspec.Struct]
    """Has a field for each, UNSET where the function's own default is to apply."""
    has_receiver: bool
    """Whether the first parameter is ``self`` or ``cls``, to be bound before a call."""


class _Parameter(NamedTuple):
    name: str
    type: Any
    default: Any
    description: str

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


def read_docstring(function: Callable[..., Any]) -> Documentation:
    """What the docstring says; Google, NumPy and Sphinx styles are understood."""
    import docstring_parser  # on the first tool only

    text = _docstring(function)
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return Documentation(text.strip(), {})
    return Documentation(
        (parsed.description or "").strip(),
        {each.arg_name: " ".join(each.description.split()) for each in parsed.params if each.description},
    )


def _docstring(function: Callable[..., Any]) -> str:
    """The text of the function; of an object, that of its call, else of its class."""
    called, written = without_partials(function), _written(function)
    if inspect.isroutine(inspect.unwrap(called)):
        return inspect.getdoc(written) or ""
    # getdoc() would find "Call self as a function.", which every object's call says.
    own = written.__doc__ if inspect.isfunction(written) else None
    return inspect.cleandoc(own or type(called).__doc__ or "")


def read_signature(function: Callable[..., Any], documented: Mapping[str, str]) -> Signature:
    """The parameters of a function.

    Args:
        function: to be called with keyword arguments.
        documented: descriptions of parameters; one in ``Annotated`` wins.

    Raises:
        ModelInvalidRequestError: a parameter that cannot be given by name or whose type JSON cannot say; names it.
    """
    given, has_receiver = _by_name(function)
    hints = _hints(function, {each.name: each.annotation for each in given})
    parameters = [_parameter(each, hints[each.name], documented) for each in given]
    try:
        schemas = [schema_of(each.type) for each in parameters]
        struct = msgspec.defstruct("Arguments", [*map(_field, parameters)], kw_only=True, forbid_unknown_fields=True)
        msgspec.json.Decoder(struct)
    except _REFUSED as error:
        raise _unsupported(parameters, error) from error
    schemas, defs = _with_common_parts(schemas)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {each.name: _described(each, of) for each, of in zip(parameters, schemas, strict=True)},
    }
    if required := [each.name for each in parameters if each.required]:
        schema["required"] = required
    if defs:
        schema["$defs"] = defs
    return Signature(schema, struct, has_receiver)


def _with_common_parts(schemas: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The schemas without their ``$defs``, and these as one; types that only share a name get names of their own."""
    parts: dict[str, Any] = {}
    parted: list[dict[str, Any]] = []
    for schema in schemas:
        own = schema.pop("$defs", {})
        whole = {"schema": schema, "parts": own}
        for name in [name for name, part in own.items() if parts.get(name, part) != part]:
            text = msgspec.json.encode(whole).decode().replace(f'"#/$defs/{name}"', f'"#/$defs/{name}_{len(parts)}"')
            whole = msgspec.json.decode(text)
            whole["parts"][f"{name}_{len(parts)}"] = whole["parts"].pop(name)
        parted.append(whole["schema"])
        parts |= whole["parts"]
    return parted, parts


def _by_name(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], bool]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError, NameError) as error:
        raise ModelInvalidRequestError(
            f"the signature cannot be read: {error}",
            hint="Give a Python function (@tool stands below @classmethod), or Tool(function, parameters=...).",
        ) from error
    has_receiver = bool(parameters) and parameters[0].name in ("self", "cls")
    # What a partial has already given is not the model's to change.
    bound: Mapping[str, Any] = function.keywords if isinstance(function, functools.partial) else {}
    parameters = [each for each in parameters[has_receiver:] if each.name not in bound]
    for each in parameters:
        if each.kind in _NOT_BY_NAME:
            raise ModelInvalidRequestError(f"parameter {each.name!r}: {_NOT_BY_NAME[each.kind]}")
    return parameters, has_receiver


def _hints(function: Callable[..., Any], annotations: dict[str, Any]) -> dict[str, Any]:
    holder = SimpleNamespace(
        __annotations__={name: Any if hint is inspect.Parameter.empty else hint for name, hint in annotations.items()}
    )
    written = _written(function)
    known = getattr(written, "__globals__", {})
    try:
        try:
            return get_type_hints(holder, known, include_extras=True)
        except NameError:
            return get_type_hints(holder, known, _locals(written, known), include_extras=True)
    except (NameError, SyntaxError, AttributeError, TypeError) as error:
        raise ModelInvalidRequestError(
            f"an annotation cannot be resolved: {error}", hint="Define the type where the function can see it."
        ) from error


def _locals(written: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Names that a function's text can see: of its closure, and of the calls on the stack from its module."""
    found: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is known:
            found = {**frame.f_locals, **found}
        frame = frame.f_back
    names = written.__code__.co_freevars if hasattr(written, "__code__") else ()
    for name, cell in zip(names, getattr(written, "__closure__", None) or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return found


def _written(function: Any) -> Any:
    """The function that somebody wrote: below partials, wrappers and methods."""
    function = inspect.unwrap(without_partials(function))
    if inspect.isroutine(function):
        return getattr(function, "__func__", function)
    return type(function).__call__


def _parameter(parameter: inspect.Parameter, hint: Any, documented: Mapping[str, str]) -> _Parameter:
    description = documented.get(parameter.name, "")
    for each in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        told = each if is_text(each) else getattr(each, "description", None)
        description = told if is_text(told) else description
        # pydantic's Field and annotated-types: msgspec would pass over their limits in silence.
        if getattr(each, "metadata", None) or type(each).__module__.startswith("annotated_types"):
            raise ModelInvalidRequestError(
                f"parameter {parameter.name!r}: the limits of {type(each).__name__} would not be checked",
                hint="Say them with Annotated[..., msgspec.Meta(ge=...)].",
            )
    if parameter.default is None and hint is not Any:  # a model that reads "default": null may well send null
        hint = hint | None
    return _Parameter(parameter.name, hint, parameter.default, description)


def _unset() -> msgspec.UnsetType:
    return msgspec.UNSET


def _field(parameter: _Parameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    if parameter.required:
        return parameter.name, parameter.type
    return parameter.name, parameter.type, msgspec.field(default_factory=_unset)


def _described(parameter: _Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    described = {**schema, "description": parameter.description} if parameter.description else schema
    if parameter.required or (isinstance(parameter.default, float) and not math.isfinite(parameter.default)):
        return described
    try:
        default: Any = msgspec.json.decode(msgspec.json.encode(parameter.default, enc_hook=to_json))
    except _REFUSED:  # such as an object() that means "not given": the function knows, the model need not
        return described
    return {**described, "default": default}


def _unsupported(parameters: Sequence[_Parameter], error: Exception) -> ModelInvalidRequestError:
    for each in parameters:
        try:
            schema_of(each.type)
            msgspec.json.Decoder(each.type)
        except _REFUSED as why:
            name = inspect.formatannotation(each.type)
            return ModelInvalidRequestError(
                f"parameter {each.name!r} is of type {name}, which has no JSON form: {why}",
                hint="Give it a type that JSON has, or leave the annotation away for any JSON value.",
            )
    return ModelInvalidRequestError(f"the parameters have no JSON form: {error}")
