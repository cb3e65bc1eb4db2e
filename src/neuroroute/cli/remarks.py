"""What is said beside an answer: how many tokens, how fast, and what is not as asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.text import Text

from neuroroute.cli.blocks import printable
from neuroroute.cli.screens import Screen
from neuroroute.messages import FunctionCall, ToolCall
from neuroroute.responses import ModelResponse

_SHOWN = 200
"""Characters of a call's arguments."""


def remark(response: ModelResponse, aside: Console) -> None:
    """Says on stderr what somebody who reads the answer should know.

    Args:
        response: the answer.
        aside: stderr.
    """
    for call in calls(response):
        aside.print(Text(call, style="dim"))
    for warning in warnings(response):
        aside.print(Text(warning, style="yellow"))


def summary(response: ModelResponse) -> str:
    """Tokens and speed, on one line."""
    tokens = response.tokens
    about = "about " if tokens.estimated else ""
    parts = [f"{about}{tokens.prompt} tokens in, {tokens.completion} out"]
    if (speed := tokens_per_second(response)) is not None:
        parts.append(f"{speed:.0f} tokens/s" if speed >= 10 else f"{speed:.1f} tokens/s")
    parts.append(f"{response.processing_time:.1f} s")
    return " · ".join(parts)


def tokens_per_second(response: ModelResponse) -> float | None:
    """The speed as the server measured it, else over the whole time that the answer took."""
    if response.stats.tokens_per_second:
        return response.stats.tokens_per_second
    if not response.tokens.completion or response.processing_time <= 0:
        return None
    return response.tokens.completion / response.processing_time


def calls(response: ModelResponse) -> list[str]:
    """What the model wants to have called, of which the command line runs nothing."""
    told: list[str] = []
    for call in response.tool_calls:
        given = call.function
        told.append(printable(f"The model asked for {given.name}({_cut(given.arguments)}), which is not run here."))
    return told


def on_call(screen: Screen) -> Callable[[ToolCall], Awaitable[None]]:
    """Shows each call of the loop."""

    async def show(call: ToolCall) -> None:
        screen.calling(called(call.function))

    return show


def called(function: FunctionCall) -> str:
    """A call as people read it; long arguments are cut."""
    return f"→ {function.name}({_cut(function.arguments)})"


def _cut(arguments: str) -> str:
    return arguments if len(arguments) <= _SHOWN else arguments[:_SHOWN] + "…"


def warnings(response: ModelResponse) -> list[str]:
    """What somebody who reads the answer should know."""
    found = [printable(f"Note: {note.message}.") for note in response.notes]
    if response.finish_reason == "length":
        found.append("The answer was cut off at its limit of tokens; raise it with --max-tokens (-1: none).")
    elif response.reasoning and not response.text and not response.tool_calls:
        found.append("The model thought, but said nothing.")
    return found
