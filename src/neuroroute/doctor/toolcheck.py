"""PURE: what is wrong with tool definitions, each named by its path; what they say is told nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from neuroroute.doctor.findings import Finding, found
from neuroroute.jsontypes import is_array, is_mapping, is_text
from neuroroute.schemas.checks import check_of
from neuroroute.tools.definitions import NAME_RULE, ToolDefinition, is_tool_name
from neuroroute.tools.functions import Tool

_MOST_TOOLS: Final = 16
_MOST_PARAMETERS: Final = 10
_MOST_LEVELS: Final = 3
_MOST_BYTES: Final = 16_000
"""Of all together: about four thousand tokens."""
_MOST_BYTES_EACH: Final = 6_000
_SHOWN: Final = 4
_DEEPEST: Final = 16
"""Below that nobody looks: it is far too deep already."""

_COMBINED: Final = ("oneOf", "allOf", "not", "if", "patternProperties")
"""What small models seldom get right."""
_SAYS_TYPE: Final = ("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")


def check_tools(definitions: Sequence[object]) -> list[Finding]:
    """What is wrong with tool definitions in the form of OpenAI's ``tools``.

    Args:
        definitions: as they would be sent; ``@tool`` functions and definitions of ours are taken, too.
    """
    definitions = [_plain(one) for one in definitions]
    findings: list[Finding] = []
    for at, definition in enumerate(definitions):
        name = _name(definition)
        told = _of_one(definition, f"tools[{at}]")
        findings += [msgspec.structs.replace(one, what=f"{name}: {one.what}") if name else one for one in told]
    findings += _of_all(definitions)
    if not any(one.level in ("problem", "warning") for one in findings):
        count = len(definitions)
        findings.insert(
            0, found("tools-good", "tools file", f"{count} definition{'s' if count != 1 else ''}, all good")
        )
    return findings


def _plain(definition: object) -> object:
    definition = definition.definition if isinstance(definition, Tool) else definition
    return msgspec.json.decode(definition.wire) if isinstance(definition, ToolDefinition) else definition


def _name(definition: object) -> str:
    function = definition.get("function") if is_mapping(definition) else None
    name = function.get("name") if is_mapping(function) else None
    return name if is_tool_name(name) else ""


def _of_one(definition: object, at: str) -> Iterator[Finding]:
    function = definition.get("function") if is_mapping(definition) else None
    if not is_mapping(definition):
        yield _malformed(f"{at} is no object")
    elif _size(definition) is None:
        yield _malformed(f"{at} cannot be written as JSON")
    elif not is_mapping(function):
        bare = "function" not in definition and "name" in definition
        yield _malformed(f'{at} has no "function"' + (": its fields stand outside of one" if bare else " object"))
    elif definition.get("type", "function") != "function":
        yield _malformed(f'{at}.type is not "function"')
    else:
        yield from _of_function(function, f"{at}.function")


def _of_function(function: Mapping[Any, Any], at: str) -> Iterator[Finding]:
    name, description = function.get("name"), function.get("description")
    if not is_tool_name(name):
        yield _malformed(f"{at}.name is not {NAME_RULE}")
    if description is not None and not is_text(description):
        yield _malformed(f"{at}.description is no text")
    elif not (description or "").strip():
        yield found("tool-undescribed", "tools file", f"{at} has no description")
    schema = function.get("parameters")
    if schema is None:
        return
    at = f"{at}.parameters"
    if not is_mapping(schema) or schema.get("type", "object") != "object":
        yield _malformed(f'{at} is no JSON schema of {{"type": "object"}}')
    elif not is_mapping(schema.get("properties", {})):
        yield _malformed(f"{at}.properties is no object")
    else:
        yield from _of_schema(schema, at)


def _of_schema(schema: Mapping[Any, Any], at: str) -> Iterator[Finding]:
    if (wrong := _wrong_place(schema)) is not None:
        wrong = wrong or next((f"{place}.$ref" for place in _dangling(schema)), "")
        yield found("tool-schema-wrong", "tools file", f"{at}{wrong} is no JSON schema")
        return
    places = list(_places(schema, at))
    unknown = [f"{path}.required names {missing}" for path, part in places for missing in _missing(part)]
    if unknown:
        yield found("tool-schema-wrong", "tools file", f"{_some(unknown)}, which is no property")
    inner = [(path, part) for path, part in places if path != at]
    untyped = [path for path, part in inner if not any(word in part for word in _SAYS_TYPE)]
    if untyped:
        yield found("tool-untyped", "tools file", f"no type: {_some(untyped)}")
    silent = [path for path, part in _arguments(schema, at) if not str(part.get("description") or "").strip()]
    if silent:
        yield found("tool-undescribed", "tools file", f"no description: {_some(silent)}", level="hint")
    yield from _complex(schema, places, at)


def _complex(schema: Mapping[Any, Any], places: Sequence[tuple[str, Mapping[Any, Any]]], at: str) -> Iterator[Finding]:
    if (count := len(schema.get("properties", {}))) > _MOST_PARAMETERS:
        yield found("tool-too-complex", "tools file", f"{at} has {count} parameters; {_MOST_PARAMETERS} are many")
    deepest = max(places, key=lambda place: _levels(place[0], at))[0]
    if (levels := _levels(deepest, at)) > _MOST_LEVELS:
        yield found("tool-too-complex", "tools file", f"{deepest} is {levels} levels deep; {_MOST_LEVELS} are many")
    combined = [f"{path}.{word}" for path, part in places for word in _COMBINED if word in part]
    if combined:
        what = f"conditions and alternatives: {_some(combined)}"
        yield found("tool-too-complex", "tools file", what, level="hint")


def _of_all(definitions: Sequence[object]) -> Iterator[Finding]:
    functions = [one.get("function") for one in definitions if is_mapping(one)]
    names = [one.get("name") if is_mapping(one) else None for one in functions]
    for at, name in enumerate(names):
        if is_tool_name(name) and names.index(name) < at:
            what = f"tools[{at}].function.name is that of tools[{names.index(name)}]"
            yield found("tool-name-twice", "tools file", what)
    if len(definitions) > _MOST_TOOLS:
        yield found("tools-too-many", "tools file", f"{len(definitions)} tools; {_MOST_TOOLS} are many at once")
    sizes = [_size(one) or 0 for one in definitions]
    large = [f"tools[{at}]" for at, size in enumerate(sizes) if size > _MOST_BYTES_EACH]
    if large or sum(sizes) > _MOST_BYTES:
        what = f"the definitions have {sum(sizes)} bytes, about {sum(sizes) // 4} tokens"
        yield found("tools-too-large", "tools file", what + (f"; the largest: {_some(large)}" if large else ""))


def _size(definition: object) -> int | None:
    """In bytes, as it is sent; None: it cannot be."""
    try:
        return len(msgspec.json.encode(definition))
    except (TypeError, ValueError, RecursionError):
        return None


def _malformed(what: str) -> Finding:
    return found("tool-malformed", "tools file", what)


def _wrong_place(schema: Mapping[Any, Any]) -> str | None:
    """Where a schema breaks the rules of schemas; its words would show what stands there."""
    try:
        check_of(dict(schema))
    except ValueError as error:
        place = str(error).partition(": ")[0].removeprefix("at $")
        return place if str(error).startswith("at $") else ""
    return None


def _dangling(schema: Mapping[Any, Any]) -> Iterator[str]:
    """Where a reference leads nowhere."""
    for place, part in _places(schema, ""):
        ref = part.get("$ref")
        if is_text(ref) and not _leads(schema, ref):
            yield place


def _leads(schema: Mapping[Any, Any], ref: str) -> bool:
    target: Any = schema
    for step in ref.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not is_mapping(target) or name not in target:
            return False
        target = target[name]
    return ref.startswith("#")


def _places(schema: Mapping[Any, Any], at: str, levels: int = _DEEPEST) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Every schema inside of a schema, and itself, by their paths."""
    yield at, schema
    if not levels:
        return
    for group in ("properties", "$defs", "definitions"):
        inner = schema.get(group)
        for name, part in inner.items() if is_mapping(inner) else ():
            if is_mapping(part):
                yield from _places(part, f"{at}.{group}.{name}", levels - 1)
    if is_mapping(items := schema.get("items")):
        yield from _places(items, f"{at}.items", levels - 1)
    for word in ("anyOf", "oneOf", "allOf"):
        several = schema.get(word)
        for number, part in enumerate(several) if is_array(several) else ():
            if is_mapping(part):
                yield from _places(part, f"{at}.{word}[{number}]", levels - 1)


def _arguments(schema: Mapping[Any, Any], at: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The parameters themselves."""
    for name, part in schema.get("properties", {}).items():
        if is_mapping(part):
            yield f"{at}.properties.{name}", part


def _missing(schema: Mapping[Any, Any]) -> list[str]:
    required, properties = schema.get("required"), schema.get("properties")
    if not is_array(required) or not is_mapping(properties):
        return []
    return [f"{name!s:.64}" for name in required if name not in properties]


def _levels(path: str, at: str) -> int:
    inside = path[len(at) :]
    return inside.count(".properties.") + inside.count(".items")


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
