"""PURE: what a conversation at the prompt remembers, and how it is written to a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from neuroroute.messages import AnyMessage, SystemMessage, UserMessage


class Talk:
    """The history, and the last request if it got no answer.

    Only a whole answer changes the history: a turn that failed or was stopped leaves it as it was, and can be asked
    again.
    """

    def __init__(self, system: str | None = None) -> None:
        self.messages: list[AnyMessage] = []
        self._unanswered: list[AnyMessage] | None = None
        if system is not None:
            self.instruct(system)

    def asking(self, text: str) -> list[AnyMessage]:
        """What to send for the next turn."""
        return [*self.messages, UserMessage(content=text)]

    def asking_again(self) -> list[AnyMessage] | None:
        """What to send for the last turn once more, answered or not; None before the first."""
        if self._unanswered is not None:
            return self._unanswered
        last = _last_question(self.messages)
        return None if last is None else self.messages[: last + 1]

    def answered(self, messages: Sequence[AnyMessage]) -> None:
        """Takes the history that an answer came with."""
        self.messages, self._unanswered = list(messages), None

    def failed(self, asked: Sequence[AnyMessage]) -> None:
        """Remembers what got no answer, beside the history."""
        self._unanswered = list(asked)

    def undo(self) -> str | None:
        """Takes the last answered turn back, and says what had been asked; None: there is none."""
        last = _last_question(self.messages)
        if last is None:
            return None
        question = self.messages[last].text
        self.messages, self._unanswered = self.messages[:last], None
        return question

    def reset(self) -> None:
        """Forgets everything but the system message."""
        self.messages = [message for message in self.messages if isinstance(message, SystemMessage)]
        self._unanswered = None

    @property
    def system(self) -> str | None:
        """The system message; None: the adapter's own will be sent."""
        return next((message.text for message in self.messages if isinstance(message, SystemMessage)), None)

    def instruct(self, system: str) -> None:
        """Puts another system message at the beginning; what was said stays."""
        self.messages = _instructed(self.messages, system)
        if self._unanswered is not None:
            self._unanswered = _instructed(self._unanswered, system)


def _last_question(messages: Sequence[AnyMessage]) -> int | None:
    return next((i for i in range(len(messages) - 1, -1, -1) if isinstance(messages[i], UserMessage)), None)


def _instructed(messages: Sequence[AnyMessage], system: str) -> list[AnyMessage]:
    rest = (message for message in messages if not isinstance(message, SystemMessage))
    return [SystemMessage(content=system), *rest]


def as_json(messages: Sequence[AnyMessage], model: str) -> str:
    """The conversation as JSON: the model, and messages as the server takes them."""
    plain = msgspec.json.encode({"model": model, "messages": messages})
    return msgspec.json.format(plain, indent=2).decode() + "\n"


def as_markdown(messages: Iterable[AnyMessage], model: str) -> str:
    """The conversation for reading."""
    names = {"system": "System", "user": "You", "assistant": model}
    return "\n".join(f"## {names.get(message.role, message.role)}\n\n{message.text}\n" for message in messages)
