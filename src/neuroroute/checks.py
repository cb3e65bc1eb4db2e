"""What an adapter lets through: sizes, roles, control characters and budgets, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, cast, get_args

import msgspec
from msgspec.structs import replace

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.estimates import TokenEstimate
from neuroroute.messages import AnyMessage, AssistantMessage, FunctionCall, Role
from neuroroute.parts import TextPart
from neuroroute.responses import Note
from neuroroute.rules import Check, integer

ControlCharacters = Literal["keep", "strip", "refuse"]

_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""What shows as nothing, or turns what follows around, so that a text can hide in it: the control characters but for
tab and line ends, and what Unicode calls default ignorable, but for what languages and emoji need: the joiners
U+200C and U+200D, the marks of direction U+061C, U+200E and U+200F, the selectors U+FE0E and U+FE0F.

Source: Unicode, category Cc and property Default_Ignorable_Code_Point.
"""

_OF_BUDGETS = (
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens", "n_predict", "best_of"),
    *("tools", "functions", "integrations", "response_format", "text", "documents"),
    *("instructions", "system_prompt", "suffix", "chat_template"),
)
"""Fields of ``extra`` that would go past the budgets, on one route or another."""

_ROLES: tuple[Role, ...] = get_args(Role)


class InputChecks(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter lets through; what is more, or other, raises a ModelInvalidRequestError before it is sent.

    None leaves a thing unchecked. It holds for whatever answers are asked for, rounds of tools and conversations
    included; ``embed`` has no messages.
    """

    max_messages: int | None = None
    """Messages in a request, the adapter's own system message not counted."""
    max_message_bytes: int | None = None
    """Bytes of one message's text, in UTF-8; of its name, of a call's arguments, of a request's ``system_message``."""
    max_prompt_tokens: int | None = None
    """Tokens of a whole prompt with its tools and the answer's schema, by estimate (see ``estimate_tokens``)."""
    max_completion_tokens: int | None = None
    """What ``max_tokens`` may be at most; it is also the default, where that is not said and would be more."""
    allowed_roles: Collection[Role] | None = None
    """Who may speak: of ``system``, ``user``, ``assistant``, ``tool``, ``function``. The adapter's own system message
    is let through; loops of tools need ``assistant`` and ``tool``, conversations ``assistant``."""
    control_characters: ControlCharacters = "keep"
    """``strip`` (with a note) or ``refuse`` control characters but for tab and line ends, and characters that turn the
    direction of writing or carry hidden text, in messages and a request's ``system_message``; joiners, marks of
    direction and the selectors of emoji are kept. Only ``refuse`` looks at the arguments and ids of calls in the
    history; what you offer as tools is yours."""

    def __post_init__(self) -> None:
        for name in ("max_messages", "max_message_bytes", "max_prompt_tokens", "max_completion_tokens"):
            value = getattr(self, name)
            if value is not None and not _COUNT(value):
                raise ModelInvalidRequestError(
                    f"InputChecks.{name} is {value!r:.60}; it must be a whole number of at least 1, or None"
                )
        roles: Any = self.allowed_roles
        if roles is not None and not _are_roles(roles):
            raise ModelInvalidRequestError(
                f"InputChecks.allowed_roles is {roles!r:.60}; it must be a set of {', '.join(_ROLES)}, or None"
            )
        if self.control_characters not in ("keep", "strip", "refuse"):
            raise ModelInvalidRequestError(
                f"InputChecks.control_characters is {self.control_characters!r:.60}; it must be keep, strip or refuse"
            )

    def let_through(self, messages: list[AnyMessage], system: str | None, notes: list[Note]) -> list[AnyMessage]:
        """The messages that were given, found right; without control characters, where those are stripped.

        Args:
            messages: without the system message that is put before them.
            system: the adapter's own system message, which a later round of tools has among its messages.
            notes: takes what is to be told of them.

        Raises:
            ModelInvalidRequestError: names the message and what is wrong with it.
        """
        own = [message.role == "system" and message.content == system for message in messages]
        if self.max_messages is not None and (count := own.count(False)) > self.max_messages:
            raise ModelInvalidRequestError(f"messages: there are {count}, more than max_messages={self.max_messages}")
        for index, message in enumerate(messages):
            if not own[index]:
                self._check(message, f"messages[{index}]")
        return messages if self.control_characters == "keep" else self._cleaned(messages, notes)

    def check_options(self, options: dict[str, Any], own_system: str | None) -> list[Note]:
        """Looks at the options that say something, or would go past the budgets.

        Args:
            options: of one request; its ``system_message`` is stripped here, where control characters are.
            own_system: the adapter's own system message, which is let through.

        Returns:
            What is to be told of them.

        Raises:
            ModelInvalidRequestError: names the option and what is wrong with it.
        """
        most, max_tokens, system = self.max_completion_tokens, options["max_tokens"], options["system_message"]
        if most is not None and not 0 < max_tokens <= most:
            raise ModelInvalidRequestError(f"max_tokens is {max_tokens}; max_completion_tokens={most} allows no more")
        if most is not None or self.max_prompt_tokens is not None:
            past = next((name for name in options["extra"] or () if name in _OF_BUDGETS), None)
            if past is not None:
                raise ModelInvalidRequestError(f"extra[{past!r}] would go past the budgets of this adapter's checks")
        if system is None or system == own_system:
            return []
        self._check_text("system_message", system)
        if self.control_characters != "strip" or not _CONTROL.search(system):
            return []
        options["system_message"] = _CONTROL.sub("", system)
        return [Note("CONTROL_CHARACTERS_STRIPPED", "control characters were taken out of system_message")]

    def check_tokens(self, messages: Sequence[AnyMessage], beside: str, estimate: TokenEstimate) -> None:
        """Whether a prompt keeps to its budget.

        Args:
            messages: all of them.
            beside: what else is sent that takes tokens: definitions of tools, the schema of the answer.
            estimate: of the model.

        Raises:
            ModelInvalidRequestError: it is too long by estimate.
        """
        fits = self.max_prompt_tokens
        if fits is None:
            return
        tokens = sum(map(estimate.message, messages)) + estimate.text(beside)
        if tokens > fits:
            raise ModelInvalidRequestError(
                f"messages: about {tokens} tokens, with what is sent beside them: more than max_prompt_tokens={fits}",
                hint="Shorten the history, or offer fewer tools.",
            )

    def _check(self, message: AnyMessage, field: str) -> None:
        if self.allowed_roles is not None and message.role not in self.allowed_roles:
            allowed = ", ".join(sorted(self.allowed_roles))
            raise ModelInvalidRequestError(f"{field}.role is {message.role!r}; allowed_roles are {allowed}")
        self._check_text(f"{field}.content", message.text)
        self._check_text(f"{field}.name", message.name or "")
        self._check_text(f"{field}.tool_call_id", getattr(message, "tool_call_id", ""))
        for call in _calls(message):
            self._check_text(f"{field}: the arguments of {call.name}", call.arguments)

    def _check_text(self, field: str, text: str) -> None:
        most = self.max_message_bytes
        if most is not None and (size := len(text.encode("utf-8", "replace"))) > most:
            raise ModelInvalidRequestError(f"{field} has {size} bytes, more than max_message_bytes={most}")
        if self.control_characters == "refuse" and (found := _CONTROL.search(text)):
            raise ModelInvalidRequestError(
                f"{field} has the control character U+{ord(found[0]):04X} at {found.start()}"
            )

    def _cleaned(self, messages: list[AnyMessage], notes: list[Note]) -> list[AnyMessage]:
        cleaned = [_clean(message) for message in messages]
        changed = [index for index, pair in enumerate(zip(cleaned, messages, strict=True)) if pair[0] is not pair[1]]
        if changed:
            where = ", ".join([f"messages[{index}]" for index in changed])
            notes.append(Note("CONTROL_CHARACTERS_STRIPPED", f"control characters were taken out of {where}"))
        return cleaned


def _calls(message: AnyMessage) -> list[FunctionCall]:
    """What an answer called."""
    if not isinstance(message, AssistantMessage):
        return []
    legacy = [] if message.function_call is None else [message.function_call]
    return [*[call.function for call in message.tool_calls], *legacy]


_COUNT: Check = integer(1)


def _are_roles(value: Any) -> bool:
    if not isinstance(value, (set, frozenset, list, tuple)) or not value:
        return False
    return all(role in _ROLES for role in cast("Collection[object]", value))


def _clean(message: AnyMessage) -> AnyMessage:
    """The message without control characters; the same one where it has none."""
    content, name = message.content, message.name
    said = [content] if isinstance(content, str) else [part.text for part in content if isinstance(part, TextPart)]
    if not any(map(_CONTROL.search, [*said, name or ""])):
        return message
    clean: Callable[[str], str] = lambda text: _CONTROL.sub("", text)  # noqa: E731
    return replace(
        message,
        name=None if name is None else clean(name),
        content=clean(content)
        if isinstance(content, str)
        else tuple([replace(part, text=clean(part.text)) if isinstance(part, TextPart) else part for part in content]),
    )
