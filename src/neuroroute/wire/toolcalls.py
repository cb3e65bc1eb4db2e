"""Tool calls as servers send them: whole or in fragments, with ids and indices that may be missing or wrong."""

from __future__ import annotations

from typing import Any

import msgspec

from neuroroute.jsontypes import is_dict
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
    """A call of the answer, as far as it came."""

    __slots__ = ("again", "id", "index", "name", "pieces", "wire_index")

    def __init__(self, index: int, wire_index: Any, name: str) -> None:
        self.index = index
        self.wire_index = wire_index
        self.id = ""
        self.name = name
        self.pieces: list[str] = []
        """Its arguments."""
        self.again = False
        """It was complete when its name came again: what follows belongs to another call of the same tool."""

    def is_over(self, name: str, arguments: str) -> bool:
        """Whether what came for this call begins another one."""
        if not name:
            return self.again and bool(arguments.strip())
        if not self.name or name != self.name:
            return bool(self.name)
        last = next(filter(str.strip, reversed(self.pieces)), "")  # most end in no brace, and need not be joined
        self.again = self.again or (last.rstrip().endswith("}") and is_object("".join(self.pieces)))
        return self.again and bool(arguments.strip())


class CallTracker:
    """Says which call of the answer a fragment belongs to, and numbers the calls from 0 in the order they began.

    In a whole answer each call stands for itself. In a stream a fragment goes to the call of its id, else of its
    index, else to the last one. It begins a new call

    - if that call has another id;
    - if it has that call's id, but another index and a name;
    - if it has another name than that call;
    - if it repeats that call's name, and that call's arguments are a complete JSON object already: some servers send
      the name with every fragment, and some call a tool twice under one index. An empty fragment after the complete
      object still decides nothing; what comes next does.

    An id that another call has is left out, so that each call can be told from the others.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: list[_Open] = []

    def fragments(self, calls: list[WireCall]) -> tuple[ToolCallFragment, ...]:
        """These fragments of a stream with indices that can be trusted."""
        if len(calls) == 1 and self._calls:  # most are the next piece of the same call
            call, last = calls[0], self._calls[-1]
            function = call.function
            if function is not None and function.name is None and not call.id and call.index == last.wire_index:
                arguments = function.arguments
                if type(arguments) is str and not last.again:
                    last.pieces.append(arguments)
                    return (ToolCallFragment(last.index, "", "", arguments),)
        return tuple([self._fragment(call) for call in calls])

    def complete(self, calls: list[WireCall]) -> tuple[ToolCallFragment, ...]:
        """The calls of a whole answer, each as one fragment."""
        return tuple([self._fragment(call, is_whole=True) for call in calls])

    def whole(self, name: str, arguments: str) -> ToolCallFragment:
        """A call that was found whole, as a fragment."""
        return self.complete([WireCall(WireFunction(name, arguments))])[0]

    def has(self, name: str, arguments: str) -> bool:
        """Whether there is such a call, however its arguments are written."""
        same = canonical(arguments)
        return any(call.name == name and canonical("".join(call.pieces)) == same for call in self._calls)

    def _fragment(self, call: WireCall, *, is_whole: bool = False) -> ToolCallFragment:
        function = call.function or WireFunction()
        call_id = "" if call.id is None else str(call.id)
        name, arguments = function.name or "", _as_text(function.arguments)
        of = None if is_whole else self._known(call.index, call_id)
        if of is not None and (self._is_elsewhere(of, call, name) or of.is_over(name, arguments)):
            name, of = name or of.name, None
        if of is None:
            of = _Open(len(self._calls), call.index, name)
            self._calls.append(of)
        of.id, of.name = call_id or of.id, name or of.name
        of.pieces.append(arguments)
        is_taken = any(known.id == call_id for known in self._calls if known is not of)
        return ToolCallFragment(of.index, "" if is_taken else call_id, name, arguments)

    def _known(self, wire_index: Any, call_id: str) -> _Open | None:
        """The call that these speak of, which may be over."""
        same_id = [known for known in self._calls if call_id and known.id == call_id]
        for known in reversed(same_id or self._calls):
            if known.wire_index == wire_index or (wire_index is None and known is self._calls[-1]):
                return None if call_id and known.id not in ("", call_id) else known
        return same_id[-1] if same_id else None

    @staticmethod
    def _is_elsewhere(known: _Open, call: WireCall, name: str) -> bool:
        return bool(name and known.name) and call.index is not None and call.index != known.wire_index


def _as_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else msgspec.json.encode(arguments).decode()


def is_object(arguments: str) -> bool:
    """Whether this is the text of a JSON object, as arguments must be."""
    try:
        return is_dict(msgspec.json.decode(arguments))
    except (ValueError, RecursionError):
        return False


def canonical(arguments: str) -> bytes:
    """The same for the same arguments, however they are written; an empty text means none."""
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments if arguments.strip() else "{}"), order="sorted")
    except (ValueError, RecursionError):
        return arguments.strip().encode("utf-8", "replace")
