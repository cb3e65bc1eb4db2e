"""``neuroroute ask``: one question, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from neuroroute.cli.exits import INTERRUPTED, TERMINATED, stopped
from neuroroute.cli.opening import Wish, opened
from neuroroute.cli.remarks import remark
from neuroroute.cli.screens import Screen, Unseen, patient, screen_for, show
from neuroroute.cli.streams import consoles, piped_text, stdin_is_piped, write_json
from neuroroute.errors import ModelInvalidRequestError
from neuroroute.messages import ImagePart, TextPart, UserMessage

if TYPE_CHECKING:
    from neuroroute.responses import ModelResponse
    from neuroroute.streams import CompletionStream


def ask(words: Sequence[str], images: Sequence[str], wish: Wish, *, as_json: bool, streamed: bool, plain: bool) -> None:
    """Asks and prints the answer.

    Raises:
        LMStudioError: it failed; what came before is printed.
    """
    message = question(words, piped_text() if "-" in words or stdin_is_piped() else "", images)
    console, aside = consoles(quiet=as_json)
    screen = Unseen() if as_json else screen_for(console, aside, plain=plain)
    began: list[CompletionStream] = []
    try:
        response = asyncio.run(_answer(message, wish, screen, aside, began if streamed else None))
    except (KeyboardInterrupt, SystemExit) as stop:
        if as_json:
            code = INTERRUPTED if isinstance(stop, KeyboardInterrupt) else TERMINATED
            write_json(console, stopped(code, began[0].response if began else None))
            raise SystemExit(code) from stop
        raise
    if as_json:
        write_json(console, as_object(response))
    remark(response, aside)


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
        "tool_calls": response.tool_calls,
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
    message: UserMessage, wish: Wish, screen: Screen, aside: Console, began: list[CompletionStream] | None
) -> ModelResponse:
    """Asks; streams have their place in ``began`` as soon as they are there, whole answers have none."""
    async with opened(wish, aside) as line:
        if began is None:
            with screen, patient(screen):
                response = await line.adapter.generate_completion(messages=[message])
                screen.reasoning(response.reasoning)
                screen.text(response.text)
            return response
        began.append(line.adapter.stream(messages=[message]))
        return await show(began[0], screen)
