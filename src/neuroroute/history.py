"""PURE: the history of a conversation, and which part of it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from neuroroute.messages import AnyMessage, SystemMessage, UserMessage
from neuroroute.responses import ModelResponse

_TITLE = 60


class History(NamedTuple):
    """What was said. It never changes: a turn makes another one, so that a failed turn changes nothing."""

    messages: tuple[AnyMessage, ...] = ()
    window: int = 0
    """Where the part begins that is still sent; system messages before it are sent, too."""
    previous: ModelResponse | None = None
    """The last answer, where its server remembers it: what to go on from."""

    def sent(self) -> list[AnyMessage]:
        """What goes out with the next question."""
        head = [message for message in self.messages[: self.window] if isinstance(message, SystemMessage)]
        return [*head, *self.messages[self.window :]]

    def followed_by(self, question: UserMessage, response: ModelResponse) -> History:
        """With a turn more.

        Args:
            question: what was asked.
            response: the answer, and the whole history as it came back with it.
        """
        answered = response.messages
        last = max((at for at, message in enumerate(answered) if isinstance(message, UserMessage)), default=-1)
        said = any(isinstance(message, SystemMessage) for message in self.messages)
        head = [message for message in answered[:1] if isinstance(message, SystemMessage) and not said]
        messages = (*head, *self.messages, question, *answered[last + 1 :])
        return History(messages, self.window + len(head), None if response.response_id is None else response)

    def narrowed(self, kept: Sequence[AnyMessage]) -> History:
        """Sending only as many messages as these from now on; system messages do not count."""
        left = sum(not isinstance(message, SystemMessage) for message in kept)
        at = len(self.messages)
        while at and left:
            at -= 1
            left -= not isinstance(self.messages[at], SystemMessage)
        return self._replace(window=at)

    def undone(self) -> tuple[History, UserMessage | None]:
        """Without its last turn, and what was asked in it."""
        for at in reversed(range(len(self.messages))):
            if isinstance(question := self.messages[at], UserMessage):
                # Back at the window, what was left out before may fit again.
                return History(self.messages[:at], 0 if at <= self.window else self.window), question
        return self, None

    def forgotten(self) -> History:
        """Nothing but how the model is to behave."""
        return History(() if self.system is None else self.messages[:1])

    @property
    def system(self) -> str | None:
        """How the model is to behave: what the system says first, before all else."""
        first = self.messages[0] if self.messages else None
        return first.text if isinstance(first, SystemMessage) else None

    def instructed(self, text: str | None) -> History:
        """With another system message, or none; one is put only where something was said."""
        rest = self.messages if self.system is None else self.messages[1:]
        head = () if text is None or not rest else (SystemMessage(content=text),)
        moved = len(head) + len(rest) - len(self.messages)
        return self._replace(messages=(*head, *rest), window=max(self.window + moved, 0))

    @property
    def title(self) -> str:
        """How it began, on one line."""
        said = next((message.text for message in self.messages if isinstance(message, UserMessage)), "")
        line = " ".join(said.split())
        return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"
