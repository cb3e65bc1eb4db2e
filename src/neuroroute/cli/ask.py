"""``neuroroute ask``: one question, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.text import Text

from neuroroute.cli.opening import Wish, opened
from neuroroute.cli.remarks import warnings
from neuroroute.cli.screens import screen_for, show
from neuroroute.cli.streams import consoles, piped_text, stdin_is_piped
from neuroroute.errors import ModelInvalidRequestError
from neuroroute.messages import ImagePart, TextPart, UserMessage

if TYPE_CHECKING:
    from neuroroute.responses import ModelResponse


def ask(words: Sequence[str], images: Sequence[str], wish: Wish, *, as_json: bool, streamed: bool) -> None:
    """Asks and prints the answer.

    Raises:
        LMStudioError: it failed; what came before is printed.
    """
    message = question(words, piped_text() if "-" in words or stdin_is_piped() else "", images)
    console, aside = consoles(quiet=as_json)
    if as_json:
        response = asyncio.run(_answer(message, wish, None, aside, streamed=streamed))
        console.file.write(msgspec.json.encode(as_object(response)).decode() + "\n")
    else:
        response = asyncio.run(_answer(message, wish, console, aside, streamed=streamed))
    for warning in warnings(response):
        aside.print(Text(warning, style="yellow"))


def question(words: Sequence[str], piped: str, images: Sequence[str]) -> UserMessage:
    """The message to send: the argument, then what was piped, then the images.

    Raises:
        ModelInvalidRequestError: there is nothing to ask, or an image cannot be used.
    """
    prompt = " ".join(word for word in words if word != "-")
    text = "\n\n".join(part for part in (prompt.strip(), piped.strip("\r\n")) if part.strip())
    if not text and not images:
        raise ModelInvalidRequestError(
            "there is nothing to ask", hint='Give a question, as in: neuroroute ask "Why is the sky blue?"'
        )
    if not images:
        return UserMessage(content=text)
    said = (TextPart(text=text),) if text else ()
    return UserMessage(content=(*said, *map(ImagePart.of, images)))


def as_object(response: ModelResponse) -> dict[str, Any]:
    """The answer for machines."""
    return {
        "text": response.text,
        "reasoning": response.reasoning,
        "model": response.model,
        "tokens": response.tokens,
        "finish_reason": response.finish_reason,
        "processing_time": response.processing_time,
        "host": response.host,
        "attempts": response.attempts,
        "stats": response.stats,
        "notes": [{"code": note.code, "message": note.message} for note in response.notes],
    }


async def _answer(
    message: UserMessage, wish: Wish, console: Console | None, aside: Console, *, streamed: bool
) -> ModelResponse:
    async with opened(wish, aside) as line:
        if not streamed:
            response = await line.adapter.generate_completion(messages=[message])
            if console is not None:
                with screen_for(console, aside) as screen:
                    screen.reasoning(response.reasoning)
                    screen.text(response.text)
            return response
        stream = line.adapter.stream(messages=[message])
        return await (stream.whole() if console is None else show(stream, screen_for(console, aside)))
