"""Faults as words, ``crash_null@10%`` or ``latency:200:50``: read, written, and applied to a simulator.

A word is a name, its numbers after colons, and after ``@`` how often: ``@10%`` of the requests, ``@3`` for the next
three; without, always. Of a fault of the network, connections are meant where requests are of the others.
"""

from __future__ import annotations

import difflib
import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from neuroroute.simulator.answers import Answer, Fail, StreamFault, WholeFault
from neuroroute.simulator.catalogue import CATALOGUE
from neuroroute.simulator.toxics import Refuse
from neuroroute.simulator.vocabulary import WORDS, Effect, Slow, Word
from neuroroute.simulator.wordings import ErrorCase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from neuroroute.simulator.received import Received
    from neuroroute.simulator.server import Simulator
    from neuroroute.simulator.toxics import NetworkFault

_FORM = re.compile(r"(?P<name>[a-z_0-9]+(?::[a-z_]+)?)(?P<numbers>(?:[:±][0-9]+)*)(?:@(?P<often>.*))?")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and how often it strikes; ``str()`` gives its word."""

    name: str
    numbers: tuple[int, ...] = ()
    percent: float | None = None
    """The share of the requests, or of the connections, that it strikes; None: all."""
    times: int | None = None
    """How many it strikes at most; None: any number."""

    @property
    def word(self) -> Word:
        """What the name stands for."""
        return WORDS[self.name]

    @property
    def effect(self) -> Effect:
        """What it does."""
        return self.word.make(*self.numbers)

    @property
    def network(self) -> NetworkFault | None:
        """What a chaos proxy is told for it; None: the simulator does it by itself."""
        effect = self.effect
        if isinstance(effect, (ErrorCase, Fail, StreamFault, WholeFault, Slow)):
            return None
        if isinstance(effect, Refuse):
            return effect
        return replace(effect, rate=1.0 if self.percent is None else self.percent / 100, times=self.times)

    def __str__(self) -> str:
        often = ""
        if self.percent is not None:
            often = f"@{Decimal(repr(self.percent)):f}%"  # never 1e-05
        if self.times is not None:
            often = f"@{self.times}"
        return ":".join([self.name, *map(str, self.numbers)]) + often


def parse_fault(text: str) -> Fault:
    """Reads a word.

    Raises:
        ValueError: It is none; the message says what would be right.
    """
    found = _FORM.fullmatch(text.strip())
    name = found["name"] if found else re.split("[:@]", text.strip())[0]
    if found is None or name not in WORDS:
        raise ValueError(_unknown(text, name))
    word = WORDS[name]
    numbers = tuple(int(number) for number in re.findall("[0-9]+", found["numbers"]))
    if not word.fewest <= len(numbers) <= len(word.takes):
        raise ValueError(_misused(text, word))
    percent, times = _often(text, word, found["often"])
    fault = Fault(name, numbers, percent, times)
    try:
        _ = fault.network
    except ValueError as error:  # a number out of its range
        msg = f"{_misused(text, word)} ({error})"
        raise ValueError(msg) from None
    return fault


def _often(text: str, word: Word, often: str | None) -> tuple[float | None, int | None]:
    if often is None:
        return None, None
    if word.name == "refuse":
        msg = f"{text!r}: refuse is for all connections or none, without @"
        raise ValueError(msg)
    if (found := _PERCENT.fullmatch(often)) and 0 < float(found[1]) <= 100:
        return float(found[1]), None
    if often.isascii() and often.isdigit() and int(often):
        return None, int(often)
    what = "requests" if word.kind == "server" else "connections"
    msg = f"{text!r}: after @ comes a share of the {what}, as in @10%, or how many of the next, as in @3"
    raise ValueError(msg)


def _unknown(text: str, name: str) -> str:
    begun = [word for word in WORDS if word.startswith(f"{name}:")]
    near = begun or difflib.get_close_matches(text.partition("@")[0], WORDS, n=3, cutoff=0.55)
    near = near or difflib.get_close_matches(name, WORDS, n=3, cutoff=0.55)
    if near:
        return f"{text!r} is no fault; did you mean {', '.join(WORDS[word].usage for word in near)}?"
    own = [word for word in WORDS if word not in {case.name for case in CATALOGUE}]
    return f"{text!r} is no fault; there are {', '.join(own)}, and the names of CATALOGUE, as crash_null"


def _misused(text: str, word: Word) -> str:
    return f"{text!r}: it is written {word.usage}, as in {word.example}"


class FaultPlan:
    """Faults for a simulator: decides for each request to a model which of them strike, the same for a seed.

    Of several failures the first that strikes is the answer; faults of streams and of whole answers, and delays, come
    together.

    Args:
        *faults: The faults, or their words.
        seed: Makes the draws the same each time; None: each time anew.

    Raises:
        ValueError: A word is none.
    """

    def __init__(self, *faults: Fault | str, seed: int | None = None) -> None:
        self.faults = tuple(parse_fault(fault) if isinstance(fault, str) else fault for fault in faults)
        self._random = random.Random(seed)
        self._used: Counter[Fault] = Counter()

    @property
    def network(self) -> tuple[NetworkFault, ...]:
        """The faults that need a :class:`~neuroroute.simulator.ChaosProxy` in front of the simulator, for it."""
        return tuple(network for fault in self.faults if (network := fault.network) is not None)

    def apply(self, simulator: Simulator) -> None:
        """Lets the simulator's answers to requests to a model go wrong so, whatever they are."""
        simulator.alter(self.alter)

    def alter(self, received: Received, answer: Answer) -> Answer | Fail:
        """What this request gets in the place of its answer; its ``faults`` tells which faults struck it."""
        struck = self._struck(streamed=received.json.get("stream") is True)
        received.faults = tuple(str(fault) for fault in struck)
        return _combined(answer, [fault.effect for fault in struck])

    def _struck(self, *, streamed: bool) -> list[Fault]:
        """Those that make a difference to this request: what is drawn for nothing would be used up for nothing."""
        failing = next((fault for fault in self.faults if _fails(fault) and self._draw(fault)), None)
        form = StreamFault if streamed else WholeFault
        lasting = (Slow,) if failing else (Slow, form)
        others = [fault for fault in self.faults if isinstance(fault.effect, lasting) and self._draw(fault)]
        return [failing, *others] if failing else others

    def _draw(self, fault: Fault) -> bool:
        if fault.percent is not None:
            return self._random.random() * 100 < fault.percent
        if fault.times is None:
            return True
        self._used[fault] += 1
        return self._used[fault] <= fault.times


def _fails(fault: Fault) -> bool:
    return isinstance(fault.effect, (ErrorCase, Fail))


def _combined(answer: Answer, effects: Iterable[Effect]) -> Answer | Fail:
    failure: Fail | None = None
    delay = 0.0
    for effect in effects:
        match effect:
            case ErrorCase():
                failure = Fail.of(effect)
            case Fail():
                failure = effect
            case StreamFault():
                answer = replace(answer, stream_fault=effect)
            case WholeFault():
                answer = replace(answer, whole_fault=effect)
            case Slow(ms):
                delay += ms / 1000
            case _:
                pass
    return replace(failure, delay=delay) if failure else replace(answer, delay=answer.delay + delay)
