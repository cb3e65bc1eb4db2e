"""``neuroroute demo``: a short real conversation, with what it took."""

from __future__ import annotations

import asyncio
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
    ("neuroroute chat", "talk with it yourself"),
    ('neuroroute ask "Why is the sky blue?"', "one question, one answer"),
    ('git diff | neuroroute ask "Review it."', "about what you pipe in"),
    ("neuroroute models", "what the server has"),
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
        console.print(Text.assemble(("NeuroRoute", "bold"), f" talks with {line.who}."))
        responses = await _conversation(line, console, aside)
        done = perf_counter()
    tokens = sum(response.tokens.completion for response in responses)
    console.print(
        f"\n{len(responses)} answers, {tokens} tokens in {done - ready:.1f} s; "
        f"ready to answer after {ready - began:.1f} s.\n\nTry next:"
    )
    width = max(len(command) for command, _ in NEXT)
    for command, what in NEXT:
        console.print(Text.assemble("  ", (command.ljust(width), "bold cyan"), f"  {what}"))


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
