"""The words for faults: names, the numbers they take, what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from neuroroute.simulator.answers import Fail, StreamFault, WholeFault
from neuroroute.simulator.catalogue import CATALOGUE
from neuroroute.simulator.toxics import (
    Bandwidth,
    Blackhole,
    Cut,
    Freeze,
    Latency,
    NetworkFault,
    Refuse,
    Reset,
    Slicer,
    SlowClose,
)
from neuroroute.simulator.wordings import ErrorCase

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer begins so many milliseconds late."""

    ms: int


Effect: TypeAlias = ErrorCase | Fail | StreamFault | WholeFault | Slow | NetworkFault
"""What a fault does."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word for a fault."""

    name: str
    kind: Literal["server", "network"]
    """Whether the simulator does it to a request, or a chaos proxy to a connection."""
    meaning: str
    make: Callable[..., Effect]
    """The effect, from its numbers."""
    takes: tuple[str, ...] = ()
    """What its numbers are."""
    fewest: int = 0
    """How many of them it needs."""
    examples: tuple[int, ...] = ()

    @property
    def usage(self) -> str:
        """How it is written: ``latency:MS[:JITTER]``."""
        needed, optional = self.takes[: self.fewest], self.takes[self.fewest :]
        return ":".join([self.name, *needed]) + "".join(f"[:{name}" for name in optional) + "]" * len(optional)

    @property
    def example(self) -> str:
        """One that may be written so."""
        return ":".join([self.name, *map(str, self.examples)])


def _server(name: str, meaning: str, make: Callable[..., Effect], *takes: str, **more: Any) -> Word:
    return Word(name, "server", meaning, make, takes, **more)


def _network(name: str, meaning: str, make: Callable[..., Effect], *takes: str, **more: Any) -> Word:
    return Word(name, "network", meaning, make, takes, **more)


def _status(status: int) -> Fail:
    if not 400 <= status <= 599:
        msg = "an error's status is 400 to 599"
        raise ValueError(msg)
    return Fail(status, {"error": f"Simulated failure with status {status}"})


def _stream(kind: Any) -> Callable[..., StreamFault]:
    return partial(StreamFault, kind)


def _whole(kind: Any) -> Callable[..., WholeFault]:
    return partial(WholeFault, kind)


_STREAM = {
    "cut": "a stream is cut off after so many deltas; without a number, after all",
    "reset": "a stream is cut off by a TCP reset after so many deltas",
    "end": "a stream ends cleanly after so many deltas, without finish reason and [DONE]",
    "hang": "a stream falls silent after so many deltas, and stays open",
    "error": "an error event (the model has crashed) comes after so many deltas",
}
_WHOLE = {
    "cut": "a whole answer is cut off after so many bytes of its body",
    "reset": "a whole answer is cut off by a TCP reset after so many bytes",
    "end": "a whole answer has so many bytes only, as if that were all of it",
    "hang": "a whole answer falls silent after so many bytes of its body",
}

_NETWORK = (
    _network("refuse", "connections are refused, as where nothing runs", Refuse),
    _network("blackhole", "connections are accepted, and no byte ever passes", Blackhole),
    _network("latency", "bytes come late", Latency, "MS", "JITTER_MS", fewest=1, examples=(200, 50)),
    _network("bandwidth", "so many bytes pass in a second", Bandwidth, "BYTES", fewest=1, examples=(1000,)),
    _network("slicer", "bytes come in small pieces", Slicer, "BYTES", "DELAY_MS", fewest=1, examples=(3, 5)),
    _network("cut", "the connection is closed after so many bytes", Cut, "BYTES", fewest=1, examples=(500,)),
    _network("reset", "a TCP reset after so many bytes, else before the first", Reset, "BYTES", examples=(100,)),
    _network("freeze", "nothing more comes after so many bytes, else at all", Freeze, "BYTES", examples=(200,)),
    _network("slow_close", "the end of the connection comes late", SlowClose, "MS", fewest=1, examples=(500,)),
)
_SERVER = (
    _server("hang", "no answer at all, until the client leaves", lambda: Fail(silent="hang")),
    _server("close", "the connection is closed without an answer", lambda: Fail(silent="close")),
    _server("status", "an error with this status", _status, "STATUS", fewest=1, examples=(503,)),
    _server("slow", "the answer begins late", Slow, "MS", fewest=1, examples=(500,)),
    *(_server(f"stream:{kind}", said, _stream(kind), "DELTAS", examples=(3,)) for kind, said in _STREAM.items()),
    _server("stream:no_finish", "a stream ends with [DONE] but without a finish reason", _stream("no_finish")),
    _server("stream:start", "a stream ends cleanly before the prompt is read", _stream("start")),
    _server("stream:no_done", "a stream ends with a finish reason but without [DONE]", _stream("no_done")),
    *(_server(f"whole:{kind}", said, _whole(kind), "BYTES", examples=(10,)) for kind, said in _WHOLE.items()),
)


def _case(case: ErrorCase) -> Word:
    def make() -> ErrorCase:
        return case

    return _server(case.name, f"{case.status}: {' '.join(case.message.split())}", make)


WORDS: dict[str, Word] = {word.name: word for word in (*_NETWORK, *_SERVER, *map(_case, CATALOGUE))}
"""Every word by its name: the network's, the server's, and the rows of the catalogue."""
