"""Why an answer takes its time, told on stderr as it happens."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from neuroroute.pipe.events import BackingOff, Event, ModelLoading, ModelReloaded, Observer


def wait_teller(aside: Console) -> Observer:
    """An observer for a person who waits."""

    def tell(event: Event) -> None:
        if (words := said(event)) is not None:
            aside.print(Text(words, style="dim"))

    return tell


def said(event: Event) -> str | None:
    """What to tell of an event; None: nothing that a person waits for."""
    if isinstance(event, ModelLoading) and not event.fraction:  # a native stream tells it again and again
        return f"{event.host} is loading {event.model} ..."
    if isinstance(event, ModelReloaded):
        return f"{event.model} was gone from {event.host}, and is loaded again."
    if isinstance(event, BackingOff):
        why = event.error.message.rstrip(".")
        return f"Attempt {event.attempt} failed: {why}. Trying again in {event.delay_ms / 1000:.1f} s."
    return None
