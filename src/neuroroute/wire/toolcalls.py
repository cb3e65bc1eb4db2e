"""Tool calls as servers send them: whole or in fragments, with ids and indices that may be missing or wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from neuroroute.responses import ToolCallFragment


class WireFunction(msgspec.Struct, gc=False):
    """Arguments are text by the book, and an object from some servers."""

    name: str | None = None
    arguments: Any = None


class WireCall(msgspec.Struct, gc=False):
    """A call or a fragment of one. ``index`` and ``id`` are not trusted, so any type decodes."""

    function: WireFunction | None = None
    index: Any = None
    id: Any = None


class _Open:
    __slots__ = ("id", "index", "named", "wire_index")

    def __init__(self, index: int, wire_index: Any) -> None:
        self.index = index
        self.wire_index = wire_index
        self.id = ""
        self.named = False


class CallTracker:
    """Says which call of the answer a fragment belongs to, and numbers the calls from 0 in the order they began."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[_Open] = []

    def fragments(self, calls: list[WireCall]) -> tuple[ToolCallFragment, ...]:
        """These fragments with indices that can be trusted."""
        if len(calls) == 1 and self._calls:  # most are the next piece of the same call
            call, last = calls[0], self._calls[-1]
            function = call.function
            if function is not None and function.name is None and not call.id and call.index == last.wire_index:
                arguments = function.arguments
                if type(arguments) is str:
                    return (ToolCallFragment(last.index, "", "", arguments),)
        return tuple([self._fragment(call) for call in calls])

    def whole(self, name: str, arguments: str) -> ToolCallFragment:
        """A call that was found whole, as a fragment."""
        opened = _Open(len(self._calls), None)
        opened.named = True
        self._calls.append(opened)
        return ToolCallFragment(opened.index, "", name, arguments)

    def _fragment(self, call: WireCall) -> ToolCallFragment:
        function = call.function or WireFunction()
        call_id = "" if call.id is None else str(call.id)
        name = function.name or ""
        of = self._open(call.index, call_id, name)
        if call_id:
            of.id = call_id
        if name:
            of.named = True
        return ToolCallFragment(of.index, call_id, name, _as_text(function.arguments))

    def _open(self, wire_index: Any, call_id: str, name: str) -> _Open:
        for known in reversed(self._calls):
            if call_id and known.id == call_id:
                return known
            if known.wire_index == wire_index or (wire_index is None and known is self._calls[-1]):
                # The same index with another id, or with a second name and no id, is a new call all the same.
                begins_anew = (call_id and known.id) or (name and known.named and not call_id)
                if not begins_anew:
                    return known
        opened = _Open(len(self._calls), wire_index)
        self._calls.append(opened)
        return opened


def _as_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else msgspec.json.encode(arguments).decode()
