"""An answer, worded by its route, as what goes over the wire: when, in which pieces, and how it goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from neuroroute.simulator.sending import Piece, Sending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neuroroute.simulator.answers import Answer, StreamFault
    from neuroroute.simulator.sending import Ending
    from neuroroute.simulator.style import Style


@dataclass(frozen=True, slots=True)
class Events:
    """A stream in the words of its route."""

    deltas: Sequence[bytes]
    """What a fault counts."""
    end: Sequence[bytes]
    """What comes after the last delta. The first of it is the route's finish reason, the last its ``[DONE]``, or what
    stands in their place."""
    failed: Callable[[str, int, bool], Sequence[bytes]]
    """What ends it instead, from the words of the failure, the number of deltas that were sent, and whether ``[DONE]``
    follows."""
    opening: Sequence[bytes] = ()
    """What comes before the prompt is read."""


def whole(answer: Answer, style: Style, body: Mapping[str, Any], *, deltas: int) -> Sending:
    """The answer in one body, which takes as long as so many deltas."""
    data = msgspec.json.encode(body)
    fault = answer.whole_fault
    sent = data if fault is None else data[: fault.after]
    ending: Ending = "clean" if fault is None or fault.kind == "end" else fault.kind
    return Sending(
        [Piece(sent, answer.delay_first)],
        status=answer.status,
        content_type=answer.content_type or "application/json; charset=utf-8",
        headers=answer.headers,
        length=len(sent) if ending == "clean" else len(data),
        delay=answer.delay + style.prefill + style.delta * deltas,
        ending=ending,
    )


def streamed(answer: Answer, style: Style, events: Events) -> Sending:
    """The answer as a stream of events."""
    opening, begun, end = events.opening, events.deltas, events.end
    if answer.raw_chunks is not None:
        opening, begun, end = (), answer.raw_chunks, ()
    ending: Ending = "clean"
    fault = answer.stream_fault
    if fault is not None:
        begun, end, ending = _break(fault, style, events, begun, end)
    early, late = (0.0, style.prefill) if style.unknowns.headers_before_prefill else (style.prefill, 0.0)
    pauses = [answer.delay_between + style.delta] * len(begun) + [answer.delay_between] * len(end)
    if pauses:
        pauses[0] += answer.delay_first - answer.delay_between + late
    pieces = [Piece(data, pause) for data, pause in zip([*begun, *end], pauses, strict=True)]
    return Sending(
        [*map(Piece, opening), *pieces],
        status=answer.status,
        content_type=answer.content_type or "text/event-stream",
        headers=answer.headers,
        delay=answer.delay + early,
        ending=ending,
    )


def _break(
    fault: StreamFault, style: Style, events: Events, begun: Sequence[bytes], end: Sequence[bytes]
) -> tuple[Sequence[bytes], Sequence[bytes], Ending]:
    sent = begun[: fault.after]
    match fault.kind:
        case "no_done":
            return begun, end[:-1], "clean"
        case "no_finish":
            return begun, end[-1:], "clean"
        case "error":
            done = style.unknowns.done_after_error if fault.done is None else fault.done
            return sent, events.failed(fault.message, len(sent), done), "clean"
        case "end":
            return sent, [], "clean"
        case "start":
            return [], [], "clean"
        case "cut" | "reset" | "hang":
            return sent, [], fault.kind
