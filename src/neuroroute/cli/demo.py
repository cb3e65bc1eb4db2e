"""``neuroroute demo``: a short real conversation, with what it took."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from neuroroute.cli.opening import Line, Wish, opened
from neuroroute.cli.remarks import on_call, remark, summary
from neuroroute.cli.screens import Screen, screen_for, show
from neuroroute.cli.streams import consoles
from neuroroute.options import CommonOptions
from neuroroute.tools import tool

if TYPE_CHECKING:
    from neuroroute.responses import ModelResponse
    from neuroroute.toolloop import ToolStream
    from neuroroute.turns import TurnStream

TURNS = (
    "My name is Ada, and my robot is called Marvin. Please say hello to both of us in one sentence.",
    "What is my robot called?",
    "In a Markdown code block, write a Python function that counts the vowels in a text.",
)
"""The second can only be answered by who remembers the first."""

NEEDS_TOOL = "How many people live in Reykjavik? Look it up."
_POPULATIONS = {"reykjavik": 139_875, "oslo": 717_710, "bern": 134_591}


@tool
def get_population(city: str) -> str:
    """How many people live in a city.

    Args:
        city: its name, such as Oslo.
    """
    people = _POPULATIONS.get(city.strip().casefold().replace("í", "i"))
    return f"{people:,} people live in {city}." if people else f"Nothing is known of {city}."


NEXT = (
    ("{} chat", "talk with it yourself; --tools FILE.py offers your own functions"),
    ('{} ask "Why is the sky blue?"', "one question, one answer"),
    ('git diff | {} ask "Review it."', "about what you pipe in"),
    ("{} models", "what the server has"),
)


def demo(wish: Wish) -> None:
    """Shows it.

    Raises:
        LMStudioError: an answer failed.
    """
    console, aside = consoles()
    asyncio.run(_demo(wish, console, aside))


async def _demo(wish: Wish, console: Console, aside: Console) -> None:
    began = perf_counter()
    async with opened(wish, aside) as line:
        ready = perf_counter()
        console.print(Text.assemble(("NeuroRoute", "bold"), f" talks with {await line.who()}."))
        responses = await _conversation(line, console, aside)
        done = perf_counter()
    tokens = sum(response.tokens.completion for response in responses)
    console.print(
        f"\n{len(responses)} answers, {tokens} tokens in {done - ready:.1f} s; "
        f"ready to answer after {ready - began:.1f} s.\n\nTry next:"
    )
    name = called()
    commands = [(command.format(name), what) for command, what in NEXT]
    width = max(len(command) for command, _ in commands)
    for command, what in commands:
        console.print(Text.assemble("  ", (command.ljust(width), "bold cyan"), f"  {what}"))


def called() -> str:
    """The words that run this program in the shell it was started from."""
    script = Path(sys.argv[0])
    if script.name == "__main__.py":  # python -m neuroroute
        script = Path(sys.executable).with_name("neuroroute.exe" if sys.platform == "win32" else "neuroroute")
        if not script.exists():
            return f"{shlex.quote(sys.executable)} -m neuroroute"
    script = script.absolute()
    found = shutil.which(script.name)
    if found and Path(found).absolute() == script:
        return script.stem
    here = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    return shlex.quote(str(here)) if sys.platform != "win32" else f'"{here}"'


async def _conversation(line: Line, console: Console, aside: Console) -> list[ModelResponse]:
    chat = line.adapter.conversation()
    responses = [
        await _turn(prompt, chat.stream(prompt), screen_for(console, aside), console, aside) for prompt in TURNS
    ]
    screen = screen_for(console, aside)
    options: CommonOptions = {"temperature": 0, "tool_choice": "required"}  # so small a model may forget that it can
    loop = line.adapter.stream_tools(
        NEEDS_TOOL,
        tools=[get_population],
        max_rounds=3,
        on_tool_call=on_call(screen),
        **options,
    )
    return [*responses, await _turn(NEEDS_TOOL, loop, screen, console, aside)]


async def _turn(
    prompt: str, stream: TurnStream | ToolStream, screen: Screen, console: Console, aside: Console
) -> ModelResponse:
    console.print(Text(f"\n> {prompt}\n", style="bold cyan"))
    response = await show(stream, screen)
    console.print(Text(f"\n{summary(response)}", style="dim"))
    remark(response, aside)
    return response
