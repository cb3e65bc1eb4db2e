"""What every contender is asked to do, and the checks that it did it.

The same requests and checks as the wider comparison of clients that the gates were first measured in.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

API_KEY = "lm-studio"

SMALL: list[dict[str, Any]] = [
    {"role": "system", "content": "You are a helpful assistant. Answer in one short paragraph."},
    {"role": "user", "content": "What does the quick brown fox jump over, and how does the dog take it?"},
]

_LINE = (
    'In turn {turn} we looked at module "core/{turn}" \u2014 caf\u00e9, na\u00efve, \u65e5\u672c\u8a9e \u2014 '
    "and found:\n"
    "\tthe loop reads one record, checks it, and hands it on; nothing else happens there.\n"
)

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {"k0": {"type": "integer"}, "k1": {"type": "string"}},
                "required": ["k0"],
            },
        },
    }
    for name, description in (("get_weather", "The weather in a city"), ("search_web", "Search the web for a query"))
]

ANSWER_CHARACTERS = 181
ANSWER_TOKENS = 66
WORDS = (" the", " quick", " brown", " fox", " jumps", " over", " a", " lazy")
WORDS += (" dog", ",", " quietly", " \u00e9t\u00e9", " and", "\n", ' "so"', " on")
"""The chunks of a stream, over and over."""


Calls = list[tuple[str, dict[str, Any]]]


class Contender(Protocol):
    """A client that is measured. It lives as long as its worker: pools and kept connections stay, as in a service."""

    async def open(self, base: str) -> None:
        """Gets ready for the server at this base URL."""

    async def chat(self, messages: list[dict[str, Any]], model: str) -> tuple[str, int]:
        """A whole answer: its text, and the tokens in all."""

    async def stream(self, messages: list[dict[str, Any]], model: str) -> tuple[int, int]:
        """A streamed answer, taken chunk by chunk: how many had text, and their characters."""

    async def tools(self, messages: list[dict[str, Any]], model: str) -> Calls:
        """Two streamed calls: each one's name, and its arguments, decoded."""

    async def close(self) -> None:
        """Closes its connections."""


class Scenario(NamedTuple):
    """One thing that is measured."""

    title: str
    model: str
    """Tells the server what to answer."""
    at_once: int = 1
    chunks: int = 0
    """Chunks of each stream; 0 means whole answers."""
    long_history: bool = False
    fragments: int = 0
    """Fragments of each of two streamed tool calls; 0 means no tools."""

    @property
    def unit(self) -> str:
        """What the CPU time is divided by."""
        return "chunk" if self.chunks else "call"


SCENARIOS = {
    "c1": Scenario("a small request at a time", "bench-ns"),
    "c64": Scenario("64 small requests at once", "bench-ns", at_once=64),
    "hist": Scenario("a history of 200 messages, 200 KB", "bench-ns", long_history=True),
    "chunk": Scenario("a stream of 2000 chunks, coalesced", "bench-c2000-b0-p0", chunks=2000),
    "tools": Scenario("two streamed tool calls of 40 fragments each", "bench-t40-b1-p0", fragments=40),
    "s32": Scenario("32 streams of 500 chunks at once", "bench-c500-b1-p0", at_once=32, chunks=500),
}


def history(turns: int = 200, size: int = 1000) -> list[dict[str, Any]]:
    """A conversation of so many messages of about so many bytes each."""
    messages = [SMALL[0]]
    for turn in range(turns - 1):
        line = _LINE.format(turn=turn)
        text = (line * (size // len(line.encode()) + 1))[: size - 40]
        messages.append({"role": "assistant" if turn % 2 else "user", "content": text})
    return messages


def check_answer(text: str, tokens: int) -> None:
    """Raises AssertionError if a whole answer is not what the server sent."""
    if (len(text), tokens) != (ANSWER_CHARACTERS, ANSWER_TOKENS):
        raise AssertionError(f"wrong answer: {len(text)} characters, {tokens} tokens")


def check_calls(calls: Calls, fragments: int) -> None:
    """Raises AssertionError if the calls are not what the server sent."""
    arguments = {"k0": 0, **{f"k{at}": f"v{at}" for at in range(1, fragments - 1)}}
    if [(name, found == arguments) for name, found in calls] != [("get_weather", True), ("search_web", True)]:
        raise AssertionError(f"wrong calls: {[name for name, _ in calls]}")


def check_stream(taken: int, characters: int, chunks: int) -> None:
    """Raises AssertionError if text was lost; chunks may be merged (none here does) but not made up."""
    lengths = [len(word) for word in WORDS]
    rounds, rest = divmod(chunks, len(WORDS))
    if not 0 < taken <= chunks or characters != sum(lengths) * rounds + sum(lengths[:rest]):
        raise AssertionError(f"wrong stream: {taken} chunks of {chunks}, {characters} characters")
