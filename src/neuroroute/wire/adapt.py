"""A history made such that servers and chat templates take it: each call has its result, right behind it.

LM Studio answers 400 to an empty ``tool_call_id``, llama.cpp 500 to arguments that are no JSON; templates want the
results of an assistant's calls directly after it, and some want roles to alternate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, cast

import msgspec
from msgspec.structs import replace

from neuroroute.messages import (
    AnyMessage,
    AssistantMessage,
    FunctionMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from neuroroute.responses import Note
from neuroroute.wire.legacy import calls_of
from neuroroute.wire.repair import repaired_json
from neuroroute.wire.roles import Turn, after, alternate, merged

_NO_RESULT = "No result: the call was not run."

_SAID = {
    "TOOL_IDS_RENUMBERED": "empty or repeated ids of tool calls, numbered anew",
    "ARGUMENTS_REPAIRED": "arguments of calls that were no JSON object, made one",
    "RESULT_MOVED": "results apart from their call, moved to it",
    "RESULT_WITHOUT_CALL": "results without a call, made messages of the user",
    "CALL_WITHOUT_RESULT": "calls without a result, given one that says so",
    "ROLES_MERGED": "system messages put first, or neighbours of one role, merged",
}
"""What a note says of the places that it counts."""

_SHOWN_PLACES = 5

_Places: TypeAlias = dict[str, list[int]]
"""Code of a note, and the index of the message at each place."""


def adapted(messages: list[AnyMessage], *, merge_roles: bool = False) -> tuple[list[AnyMessage], list[Note]]:
    """The history as it should be sent, and what was put right.

    A pure translation of the older form (``function_call``, role ``function``) is not noted, nor is ``{}`` for
    arguments that are empty or ``null``. Of a call in both forms the newer one is kept. The same history always gives
    the same bytes, and new ids depend only on what stands before them, for the sake of the server's prompt cache.

    A result belongs to the call with its id; without an id, to one with its name, else to any. Among those it belongs
    to the first that stands before it and has no result yet, but to calls since the latest system or user message
    rather than to older ones.

    Args:
        messages: not changed. The same list comes back when it is right; messages that are right stay the same objects.
        merge_roles: also make one message of neighbours of one role, and of all system messages, which go first. Where
            their names differ, each name stands before its text.

    Returns:
        The messages, and a note for each kind of change with its count and places in ``messages``, never with contents.
    """
    right = _is_plain(messages) or _is_paired(messages)
    if right and (not merge_roles or alternate(messages)):
        return messages, []
    places: _Places = {}
    turns = list(enumerate(messages)) if right else _paired(messages, places)
    if merge_roles:
        turns, changed = merged(turns)
        if changed:
            places["ROLES_MERGED"] = changed
    return [message for _, message in turns], [_note(code, places[code]) for code in _SAID if code in places]


def _note(code: str, places: list[int]) -> Note:
    distinct = sorted({*places})
    where = ", ".join([f"messages[{index}]" for index in distinct[:_SHOWN_PLACES]])
    more = f" and {len(distinct) - _SHOWN_PLACES} more" if len(distinct) > _SHOWN_PLACES else ""
    return Note(code, f"{_SAID[code]}: {len(places)} in {where}{more}")


# Is anything to be done? This is asked of every request, so it is quick.


def _is_plain(messages: list[AnyMessage]) -> bool:
    for message in messages:
        if type(message) is UserMessage:
            continue
        if type(message) is AssistantMessage:
            if message.tool_calls or message.function_call is not None:
                return False
        elif type(message) is not SystemMessage:
            return False
    return True


def _is_paired(messages: list[AnyMessage]) -> bool:
    seen: set[str] = set()
    awaited: set[str] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in awaited:
                return False
            awaited.remove(message.tool_call_id)
        elif awaited or isinstance(message, FunctionMessage):
            return False
        elif isinstance(message, AssistantMessage):
            if not _is_sound(message):
                return False
            for call in message.tool_calls:
                if not call.id or call.id in seen:
                    return False
                seen.add(call.id)
                awaited.add(call.id)
    return not awaited


def _is_sound(message: AssistantMessage) -> bool:
    kept = cast("dict[str, bool]", message.__dict__)  # like an encoded turn: arguments may be long, and come again
    sound = kept.get("sound")
    if sound is None:
        sound = kept["sound"] = message.function_call is None and all(
            _is_object(call.function.arguments) for call in message.tool_calls
        )
    return sound


# Calls and their results


class _Slot:
    """A call with the id and arguments that it is sent with, and where its result is."""

    __slots__ = ("call", "given_id", "index", "result", "section")

    def __init__(self, call: ToolCall, given_id: str, index: int, section: int) -> None:
        self.call = call
        self.given_id = given_id
        self.index = index
        self.section = section
        """Which stretch between messages of user or system it is in."""
        self.result: int | None = None


def _paired(messages: list[AnyMessage], places: _Places) -> list[Turn]:
    slots = _slots(messages, places)
    _match(messages, slots)
    taken = {slot.result for of_message in slots.values() for slot in of_message}
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            of_message = slots.get(index, [])
            calls = tuple([slot.call for slot in of_message])
            if message.function_call is not None or calls != message.tool_calls:
                message = replace(message, function_call=None, tool_calls=calls)
            turns.append((index, message))
            turns += _results(messages, index, of_message, places)
        elif not isinstance(message, (ToolMessage, FunctionMessage)):
            turns.append((index, message))
        elif index not in taken:
            places.setdefault("RESULT_WITHOUT_CALL", []).append(index)
            what = f"the function {message.name}" if message.name else "a tool call"
            turns.append((index, UserMessage(content=after(f"Result of {what}: ", message.content))))
    return turns


def _slots(messages: list[AnyMessage], places: _Places) -> dict[int, list[_Slot]]:
    """The calls of each message that has any, fit to be sent."""
    slots: dict[int, list[_Slot]] = {}
    seen: set[str] = set()
    count = section = 0
    for index, message in enumerate(messages):
        if isinstance(message, (UserMessage, SystemMessage)):
            section += 1
        elif isinstance(message, AssistantMessage):
            given = len(message.tool_calls)
            for position, call in enumerate(calls_of(message)):
                count += 1
                fit = _fit(call, count, seen)
                if fit.id != call.id and position < given:
                    places.setdefault("TOOL_IDS_RENUMBERED", []).append(index)
                if fit.function is not call.function and not _is_nothing(call.function.arguments):
                    places.setdefault("ARGUMENTS_REPAIRED", []).append(index)
                slots.setdefault(index, []).append(_Slot(fit, call.id, index, section))
    return slots


def _fit(call: ToolCall, count: int, seen: set[str]) -> ToolCall:
    """The call with an id of its own and an object as arguments; the call itself, if it has them."""
    call_id = call.id
    while not call_id or call_id in seen:
        call_id = f"{count:09}"  # nine digits as LM Studio's own: Mistral's templates refuse anything else
        count += 1
    seen.add(call_id)
    function = call.function
    if not _is_object(function.arguments):
        function = replace(function, arguments=_object_of(function.arguments))
    return call if call_id == call.id and function is call.function else replace(call, id=call_id, function=function)


def _by_id(result: ToolMessage | FunctionMessage) -> str:
    return result.tool_call_id if isinstance(result, ToolMessage) else ""


def _by_name(result: ToolMessage | FunctionMessage) -> str:
    return "" if _by_id(result) else result.name or ""


def _by_order(result: ToolMessage | FunctionMessage) -> str:
    return "any" if isinstance(result, ToolMessage) and not result.tool_call_id else ""


_Keys: TypeAlias = tuple[Callable[[_Slot], str], Callable[[ToolMessage | FunctionMessage], str]]
_WAYS: tuple[_Keys, ...] = (
    (lambda slot: slot.given_id, _by_id),
    (lambda slot: slot.call.function.name, _by_name),
    (lambda slot: "any", _by_order),
)
"""How a call and its result know each other, the surest first; an empty key knows nobody."""


def _match(messages: list[AnyMessage], slots: dict[int, list[_Slot]]) -> None:
    """Gives each result to the first call that it fits and that has none, of the latest section with such a call."""
    results = {i: m for i, m in enumerate(messages) if isinstance(m, (ToolMessage, FunctionMessage))}
    for key_of_slot, key_of_result in _WAYS:
        waiting: dict[str, list[deque[_Slot]]] = {}  # by section
        for index in sorted(slots.keys() | results.keys()):
            for slot in slots.get(index, ()):
                if slot.result is None and (key := key_of_slot(slot)):
                    sections = waiting.setdefault(key, [])
                    if not sections or sections[-1][0].section != slot.section:
                        sections.append(deque())
                    sections[-1].append(slot)
            result = results.get(index)
            if result is not None and (fitting := waiting.get(key_of_result(result))):
                fitting[-1].popleft().result = index
                if not fitting[-1]:
                    fitting.pop()
                del results[index]


def _results(messages: list[AnyMessage], index: int, slots: list[_Slot], places: _Places) -> Iterable[Turn]:
    """The results of a message's calls in the order in which they came, and one for each call that has none."""
    found = sorted([(slot.result, slot.call.id) for slot in slots if slot.result is not None])
    for place, (at, call_id) in enumerate(found, index + 1):
        result = messages[at]
        if at != place:
            places.setdefault("RESULT_MOVED", []).append(at)
        if isinstance(result, ToolMessage):
            if not result.tool_call_id:
                places.setdefault("TOOL_IDS_RENUMBERED", []).append(at)
            yield at, result if result.tool_call_id == call_id else replace(result, tool_call_id=call_id)
        else:
            yield at, ToolMessage(tool_call_id=call_id, content=result.content, name=result.name)
    for slot in slots:
        if slot.result is None:
            places.setdefault("CALL_WITHOUT_RESULT", []).append(index)
            yield index, ToolMessage(tool_call_id=slot.call.id, content=_NO_RESULT)


# Arguments

_read_object = msgspec.json.Decoder(dict[str, Any]).decode


def _is_object(arguments: str) -> bool:
    try:
        _read_object(arguments)
    except UnicodeEncodeError:  # a lone surrogate: encoding the request refuses it and says where
        return True
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_nothing(arguments: str) -> bool:
    return arguments.strip() in ("", "null")


def _object_of(arguments: str) -> str:
    """Arguments that are no JSON object, as one that loses nothing of them."""
    if _is_nothing(arguments):
        return "{}"
    repaired = repaired_json(arguments)
    for text in (repaired, f'{{"arguments":{repaired}}}'):
        if repaired is not None and text is not None and _is_object(text):
            return text
    return msgspec.json.encode({"arguments": arguments}).decode()
