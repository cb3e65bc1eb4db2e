"""How well the embedded engine's model calls tools, as a Markdown table: ``python benchmarks/tool_calls.py``.

Twenty prompts over four tools, five for each, and ten that need none, all at temperature 0. A call is valid if it names
an offered tool and its arguments pass that tool's check; an answer is if all of its calls are.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from neuroroute import LMStudioAdapter, LMStudioError, ModelResponse, ToolCall, ToolError, tool
from neuroroute.engine import EmbeddedEngine
from neuroroute.tools import Toolbox


@tool
def get_weather(city: str) -> str:
    """The current weather in a city.

    Args:
        city: name of the city
    """
    return f"It is sunny in {city}, 21 degrees."


@tool
def get_time(timezone: str) -> str:
    """The current time in a time zone.

    Args:
        timezone: IANA name, such as Europe/Paris
    """
    return f"In {timezone} it is 14:30."


@tool
def convert_currency(amount: float, from_currency: str, to_currency: str) -> str:
    """Convert an amount of money to another currency.

    Args:
        amount: how much money
        from_currency: three-letter code, such as USD
        to_currency: three-letter code, such as EUR
    """
    return f"{amount:g} {from_currency} are {amount * 2:g} {to_currency}."


@tool
def search_notes(query: str) -> list[str]:
    """Search the user's own notes.

    Args:
        query: what to look for
    """
    return [f"Note about {query}: done on Monday."]


TOOLS = Toolbox([get_weather, get_time, convert_currency, search_notes])

PROMPTS = {
    "What is the weather like in Tokyo?": "get_weather",
    "Is it raining in London right now?": "get_weather",
    "How warm is it in Cairo?": "get_weather",
    "Do I need an umbrella in Oslo today?": "get_weather",
    "Tell me the current weather in Buenos Aires.": "get_weather",
    "What time is it in Asia/Tokyo?": "get_time",
    "What is the current time in New York?": "get_time",
    "Tell me the time in Europe/Berlin.": "get_time",
    "How late is it in Sydney now?": "get_time",
    "Which time is it in the time zone America/Los_Angeles?": "get_time",
    "How many euros are 100 US dollars?": "convert_currency",
    "Convert 250 GBP to JPY.": "convert_currency",
    "What are 19.99 EUR in Swiss francs?": "convert_currency",
    "I have 5000 yen. How much is that in US dollars?": "convert_currency",
    "Please convert 75 CAD to AUD.": "convert_currency",
    "Search my notes for the dentist appointment.": "search_notes",
    "What did I write in my notes about the garden?": "search_notes",
    "Find my notes on the project budget.": "search_notes",
    "Do my notes mention a birthday present for Anna?": "search_notes",
    "Look in my notes for the Wi-Fi password.": "search_notes",
}
"""Each with the tool that it asks for."""

NO_TOOL_NEEDED = (
    "Hello, how are you?",
    "What is the capital of France?",
    "What is 7 plus 5?",
    "Write one sentence about the sea.",
    "Translate 'good morning' to Spanish.",
    "Name three primary colors.",
    "What is the opposite of hot?",
    "Who wrote Romeo and Juliet?",
    "Thank you, that was helpful.",
    "Explain in one sentence what a compiler does.",
)


Choice: TypeAlias = Literal["required", "auto"]
CHOICES: tuple[Choice, ...] = ("required", "auto")
Ask: TypeAlias = Callable[[str], Awaitable[ModelResponse]]


class Outcome(NamedTuple):
    """What came of one prompt."""

    calls: tuple[ToolCall, ...]
    words: bool
    """Whether it ended with an answer in words."""

    @property
    def valid(self) -> bool:
        return bool(self.calls) and all(_fits(call) for call in self.calls)

    def right(self, wanted: str) -> bool:
        """Whether the first call is of the tool that was meant."""
        return bool(self.calls) and self.calls[0].function.name == wanted


def _fits(call: ToolCall) -> bool:
    try:
        TOOLS.check(call.function.name, call.function.arguments)
    except ToolError:
        return False
    return True


async def outcomes(prompts: Iterable[str], ask: Ask) -> list[Outcome]:
    """Asks one after the other. ``calls`` are those of the first answer that has any; a failure ends without words."""
    found: list[Outcome] = []
    for number, prompt in enumerate(prompts):
        response: ModelResponse | None
        try:
            response = await ask(prompt)
            words = bool(response.text.strip())
        except LMStudioError as error:
            print(f"{prompt!r}: {error}", file=sys.stderr)
            response, words = error.partial, False
        messages = [] if response is None else response.messages
        calls = next((said for message in messages if (said := getattr(message, "tool_calls", ()))), ())
        found.append(Outcome(calls, words))
        print(f"\r{number + 1} prompts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def row(title: str, found: Sequence[Outcome], wanted: Sequence[str], *, loop: bool) -> str:
    """A line of the table."""
    cells = [
        title,
        len(found),
        sum(bool(outcome.calls) for outcome in found),
        sum(map(Outcome.right, found, wanted)) if wanted else "",
        sum(outcome.valid for outcome in found),
        sum(outcome.words for outcome in found) if loop else "",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


async def measure(adapter: LMStudioAdapter) -> None:
    """Prints the table, each line as soon as it is known."""

    def once(choice: Choice) -> Ask:
        return lambda prompt: adapter.generate_completion(prompt, tools=TOOLS, tool_choice=choice)

    def loop(choice: Choice) -> Ask:
        return lambda prompt: adapter.run_tools(prompt, tools=TOOLS, max_rounds=3, tool_choice=choice)

    print("| what is asked | prompts | called a tool | the right one | calls valid | ended in words |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    wanted = list(PROMPTS.values())
    for choice in CHOICES:
        found = await outcomes(PROMPTS, once(choice))
        print(row(f'one answer, `tool_choice="{choice}"`', found, wanted, loop=False), flush=True)
    found = await outcomes(NO_TOOL_NEEDED, once("auto"))
    print(row('one answer to what needs no tool, `"auto"`', found, (), loop=False), flush=True)
    for choice in CHOICES:
        found = await outcomes(PROMPTS, loop(choice))
        print(row(f'`run_tools(max_rounds=3, tool_choice="{choice}")`', found, wanted, loop=True), flush=True)


async def main() -> None:
    async with (
        EmbeddedEngine(parallel=1) as engine,
        LMStudioAdapter(engine.model_id, base_url=engine.url, temperature=0, max_tokens=200) as adapter,
    ):
        await measure(adapter)


if __name__ == "__main__":
    asyncio.run(main())
