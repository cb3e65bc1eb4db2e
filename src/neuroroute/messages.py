"""What is said in a conversation: one small frozen type per role, tool calls, and parts of content.

Messages are made with keywords and without ``role``; dicts of the same shape are accepted wherever a message is. They
go to and from JSON with ``msgspec.json`` in the shape that ``/v1/chat/completions`` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_mapping, is_series
from neuroroute.parts import Content as Content
from neuroroute.parts import ContentPart as ContentPart
from neuroroute.parts import ImagePart as ImagePart
from neuroroute.parts import TextPart as TextPart
from neuroroute.parts import content_of, kind_of, plain_text, refused

Role: TypeAlias = Literal["system", "user", "assistant", "function", "tool"]


class FunctionCall(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model wants called."""

    name: str
    """Which function."""
    arguments: str = "{}"
    """The arguments as JSON text, as the model wrote them."""

    def __post_init__(self) -> None:
        force_setattr(self, "name", plain_text(self.name, "name of a call"))
        force_setattr(self, "arguments", plain_text(self.arguments, "arguments of a call (JSON)"))


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a tool."""

    id: str
    """What its result has to name."""
    type: str = "function"
    function: FunctionCall
    """What to call; a dict of the same shape is taken, too."""

    def __post_init__(self) -> None:
        force_setattr(self, "id", plain_text(self.id, "id of a call"))
        force_setattr(self, "type", plain_text(self.type, "type of a call"))
        if type(self.function) is not FunctionCall:
            try:
                force_setattr(self, "function", msgspec.convert(self.function, FunctionCall))
            except msgspec.ValidationError as error:
                raise refused("function of a call", error) from error


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True, tag_field="role"):
    """What all messages have in common; use one of the five kinds."""

    role: ClassVar[Role]

    # A factory, so that an empty content is written all the same: chat templates fail on a missing key.
    content: Content = msgspec.field(default_factory=str)
    """Text, or parts of text and images."""
    name: str | None = None
    """Who speaks; passes through on every role."""

    def __post_init__(self) -> None:
        force_setattr(self, "content", content_of(self.content))
        if self.name is not None:
            force_setattr(self, "name", plain_text(self.name, "name"))

    @property
    def text(self) -> str:
        """The content as text, images left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class SystemMessage(ChatMessage, frozen=True, kw_only=True, tag="system"):
    """Tells the model how to behave."""

    role: ClassVar[Role] = "system"


class UserMessage(ChatMessage, frozen=True, kw_only=True, tag="user"):
    """What the user said."""

    role: ClassVar[Role] = "user"


class AssistantMessage(ChatMessage, frozen=True, kw_only=True, tag="assistant"):
    """What the model said, and what it wants called."""

    role: ClassVar[Role] = "assistant"

    function_call: FunctionCall | None = None
    """A call, in the older form."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Calls; a list of dicts of the same shape is taken, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.function_call is None and not self.tool_calls:  # most of them; nothing to convert
            force_setattr(self, "tool_calls", ())
            return
        try:
            force_setattr(self, "function_call", msgspec.convert(self.function_call, FunctionCall | None))
            force_setattr(self, "tool_calls", msgspec.convert(self.tool_calls or (), tuple[ToolCall, ...]))
        except msgspec.ValidationError as error:
            raise refused("an assistant message's calls", error) from error


class FunctionMessage(ChatMessage, frozen=True, kw_only=True, tag="function"):
    """A function's result, in the older form; ``name`` says which function."""

    role: ClassVar[Role] = "function"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.name:
            raise ModelInvalidRequestError("a function message needs the name of its function")


class ToolMessage(ChatMessage, frozen=True, kw_only=True, tag="tool"):
    """A tool's result; ``tool_call_id`` says of which call."""

    role: ClassVar[Role] = "tool"

    tool_call_id: str
    """The id of the call that this is the result of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        force_setattr(self, "tool_call_id", plain_text(self.tool_call_id, "tool_call_id"))


AnyMessage: TypeAlias = SystemMessage | UserMessage | AssistantMessage | FunctionMessage | ToolMessage
_KINDS = (SystemMessage, UserMessage, AssistantMessage, FunctionMessage, ToolMessage)
_ROLES = ("system", "user", "assistant", "function", "tool")


_KEYS = frozenset(("role", "content", "name", "function_call", "tool_calls", "tool_call_id"))
_LEFT_OUT = frozenset(("refusal", "annotations", "audio", "parsed", "reasoning", "reasoning_content"))
"""Of an assistant's message, as LM Studio or another SDK gives it: no part of what is sent again."""


def _check_keys(keys: Iterable[Any], role: object, field: str) -> None:
    known = _KEYS | _LEFT_OUT if role == "assistant" else _KEYS
    unknown = next((key for key in keys if key not in known), None)
    if unknown is None:
        return
    import difflib  # only for a mistake

    near = difflib.get_close_matches(str(unknown), _KEYS, 1)
    raise ModelInvalidRequestError(
        f"{field} has the unknown key {unknown!r:.40}" + (f"; did you mean {near[0]!r}?" if near else ""),
        hint=f"What a message may have: {', '.join(sorted(_KEYS))}.",
    )


def message_from(value: Any, field: str = "message") -> AnyMessage:
    """A typed message from a dict of the same shape, or the message itself.

    Args:
        value: a message or a mapping; role ``developer`` is taken as ``system``.
        field: the name to use in an error, such as ``messages[2]``.

    Raises:
        ModelInvalidRequestError: an unknown role, a missing or wrong field.
    """
    if isinstance(value, _KINDS):
        return value
    if not is_mapping(value):
        raise ModelInvalidRequestError(f"{field} must be a message or a dict, not {kind_of(value)}")
    role = value.get("role")
    if role == "developer":
        return message_from({**value, "role": "system"}, field)
    if role not in _ROLES:
        raise ModelInvalidRequestError(f"{field}.role is {role!r:.40}; it must be one of {', '.join(_ROLES)}")
    if not value.keys() <= _KEYS:
        _check_keys(value, role, field)
    content = value.get("content")
    if content is None and role == "assistant":  # nothing but calls, as other SDKs write it
        content = ""
    try:
        given = {key: item for key, item in value.items() if item is not None}  # other SDKs write None for "no calls"
        given |= {"role": plain_text(role, "role"), "content": content_of(content)}
        message: AnyMessage = msgspec.convert(given, AnyMessage)
    except msgspec.ValidationError as error:
        raise refused(field, error) from error
    except ModelInvalidRequestError as error:
        raise ModelInvalidRequestError(f"{field}: {error.message}", hint=error.hint) from error
    return message


def are_texts(messages: Sequence[AnyMessage]) -> bool:
    """Whether none of them has parts, such as images. Asked of every request, so it is quick."""
    return {message.content.__class__ for message in messages} <= {str}


class MessageReader:
    """Reads histories, and remembers plain turns: a dict that comes again gives the message made of it before.

    Histories of dicts are sent again and again with one turn more. Since a message keeps its encoded form, a turn that
    was seen before is neither checked nor encoded again.
    """

    def __init__(self, max_chars: int = 4 << 20) -> None:
        self._known: dict[str, dict[str, AnyMessage]] = {}
        self._chars = 0
        self._max_chars = max_chars

    def read(self, values: Any) -> list[AnyMessage]:
        """The typed messages.

        Raises:
            ModelInvalidRequestError: names the message by its place.
        """
        if not is_series(values):
            raise ModelInvalidRequestError(f"messages must be a list of messages, not {kind_of(values)}")
        known = self._known
        messages: list[AnyMessage] = []
        for index, value in enumerate(values):
            kind: type[object] = value.__class__
            if kind is dict and len(value) == 2:
                try:
                    messages.append(known[value["role"]][value["content"]])
                except (KeyError, TypeError):  # new, other keys, or a list as content
                    messages.append(self._learn(value, index))
            elif kind in _KINDS:
                messages.append(value)
            else:
                messages.append(message_from(value, f"messages[{index}]"))
        return messages

    def _learn(self, value: dict[str, Any], index: int) -> AnyMessage:
        message = message_from(value, f"messages[{index}]")
        content = message.content
        if isinstance(content, str):
            self._chars += len(content) + 100
            if self._chars > self._max_chars:
                self._known.clear()
                self._chars = len(content) + 100
            self._known.setdefault(value["role"], {})[content] = message
        return message
