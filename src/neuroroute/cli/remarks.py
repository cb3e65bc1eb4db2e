"""What is said beside an answer: how many tokens, how fast, and what is not as asked."""

from __future__ import annotations

from neuroroute.responses import ModelResponse


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


def warnings(response: ModelResponse) -> list[str]:
    """What somebody who reads the answer should know."""
    found = [f"Note: {note.message}." for note in response.notes]
    if response.finish_reason == "length":
        found.append("The answer was cut off at its limit of tokens; raise it with --max-tokens (-1: none).")
    elif not response.text and response.reasoning:
        found.append("The model thought, but said nothing.")
    return found
