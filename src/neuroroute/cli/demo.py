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
from neuroroute.cli.remarks import remark, summary
from neuroroute.cli.screens import screen_for, show
from neuroroute.cli.streams import consoles

if TYPE_CHECKING:
    from neuroroute.messages import AnyMessage
    from neuroroute.responses import ModelResponse

TURNS = (
    "My name is Ada, and my robot is called Marvin. Please say hello to both of us in one sentence.",
    "What is my robot called?",
    "In a Markdown code block, write a Python function that counts the vowels in a text.",
)
"""The second can only be answered by who remembers the first."""

NEXT = (
    ("{} chat", "talk with it yourself"),
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
    history: list[AnyMessage] = []
    responses: list[ModelResponse] = []
    for prompt in TURNS:
        console.print(Text(f"\n> {prompt}\n", style="bold cyan"))
        response = await show(line.adapter.stream(prompt, messages=history), screen_for(console, aside))
        console.print(Text(f"\n{summary(response)}", style="dim"))
        remark(response, aside)
        history = response.messages
        responses.append(response)
    return responses
