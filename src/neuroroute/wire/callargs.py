"""What a model wrote as a call, as a call: its name, and its arguments as the JSON text of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from neuroroute.jsontypes import is_array, is_mapping, is_text
from neuroroute.wire.repair import repaired_json


class SalvagedCall(msgspec.Struct, frozen=True):
    """A call that was found in the content."""

    name: str
    """An offered tool."""
    arguments: str
    """JSON text of an object: as the model wrote it, where it wrote JSON."""


class _Written(msgspec.Struct):
    name: str
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def written_call(text: str, tools: Mapping[str, Mapping[str, Any]]) -> SalvagedCall | None:
    """The call that a JSON object tells of, if its arguments are an object and its tool is offered.

    ``parameters`` is read where ``arguments`` is missing; none, null and an empty text mean ``{}``; a text that holds
    an object is that object.

    Args:
        text: valid JSON.
        tools: the offered ones, by name.
    """
    try:
        written = msgspec.json.decode(text, type=_Written)
    except msgspec.ValidationError:
        return None
    given = written.parameters if written.arguments is msgspec.UNSET else written.arguments
    arguments = _object_text(given)
    return SalvagedCall(written.name, arguments) if arguments is not None and written.name in tools else None


def _object_text(given: msgspec.Raw | msgspec.UnsetType) -> str | None:
    if given is msgspec.UNSET:
        return "{}"
    value = msgspec.json.decode(given)
    if value is None or (is_text(value) and not value.strip()):
        return "{}"
    text = repaired_json(value) if is_text(value) else bytes(given).decode()
    return text if text is not None and text.lstrip().startswith("{") else None


def typed_arguments(values: Mapping[str, str], schema: Mapping[str, Any]) -> str | None:
    """Arguments that were written as bare texts, typed as the tool's schema says.

    A value stays a text if the schema allows one there or says nothing (but ``null`` is null where that is allowed,
    too), and if it is no JSON; else it is that JSON. Nothing is checked: what the tool takes is seen when it is run.

    Args:
        values: the parameters and their texts.
        schema: the tool's ``parameters``.

    Returns:
        JSON text of an object; None if a text cannot be sent (half of a surrogate pair).
    """
    properties = schema.get("properties")
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        types = _types(properties.get(key), schema) if is_mapping(properties) else set[str]()
        sound = repaired_json(value.strip()) if types else None
        if sound is not None and ("string" not in types or (sound == "null" and "null" in types)):
            arguments[key] = msgspec.Raw(sound.encode())
        else:  # the template puts a text between two newlines
            arguments[key] = value.removeprefix("\n").removesuffix("\n")
    try:
        return msgspec.json.encode(arguments).decode()
    except UnicodeEncodeError:
        return None


def _types(schema: Any, root: Mapping[str, Any]) -> set[str]:
    """The types that a schema names, those behind its references and alternatives included."""
    found: set[str] = set()
    todo, seen = [schema], set[int]()
    while todo:
        node = todo.pop()
        if not is_mapping(node) or id(node) in seen:
            continue
        seen.add(id(node))
        declared = node.get("type")
        found.update(filter(is_text, declared if is_array(declared) else [declared]))
        for value in [*_listed(node.get("enum")), *([node["const"]] if "const" in node else [])]:
            found.add("string" if is_text(value) else "null" if value is None else "other")
        for key in ("anyOf", "oneOf", "allOf"):
            todo.extend(_listed(node.get(key)))
        todo.append(_referred(node.get("$ref"), root))
    return found


def _listed(value: Any) -> list[Any]:
    return list(value) if is_array(value) else []


def _referred(reference: Any, root: Any) -> Any:
    """What a reference into the schema itself, such as ``#/$defs/Address``, leads to."""
    if not is_text(reference) or not reference.startswith("#/"):
        return None
    for step in reference[2:].split("/"):
        root = root.get(step) if is_mapping(root) else None
    return root
