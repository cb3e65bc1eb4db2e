"""What is said in a conversation: one small frozen type per role, tool calls, and parts of content.

Messages are made with keywords and without ``role``; dicts of the same shape are accepted wherever a message is. They
go to and from JSON with ``msgspec.json`` in the shape that ``/v1/chat/completions`` takes.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_array, is_mapping, is_series, is_text

Role: TypeAlias = Literal["system", "user", "assistant", "function", "tool"]


class FunctionCall(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model wants called."""

    name: str
    """Which function."""
    arguments: str = "{}"
    """The arguments as JSON text, as the model wrote them."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a tool."""

    id: str
    """What its result has to name."""
    type: str = "function"
    function: FunctionCall
    """What to call."""


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A piece of text in a message of several parts."""

    text: str


class ImageURL(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an image is: for LM Studio always a base64 data URL."""

    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    """An image in a message, as a base64 data URL of a PNG or JPEG: LM Studio takes nothing else.

    Make one from a file, bytes or a data URL with :meth:`of`.
    """

    image_url: ImageURL

    def __post_init__(self) -> None:
        if not self.image_url.url.startswith(_DATA_URLS):
            raise ModelInvalidRequestError(
                "image_url.url must be a base64 data URL of a PNG or JPEG",
                hint="Make it with ImagePart.of(path, bytes or data URL); LM Studio fetches no URLs.",
            )

    @classmethod
    def of(cls, source: str | os.PathLike[str] | bytes) -> ImagePart:
        """An image from a PNG or JPEG file, its bytes, or a data URL.

        Args:
            source: a path, the file's bytes, or a text that begins with ``data:``.

        Raises:
            ModelInvalidRequestError: the file cannot be read, or is neither PNG nor JPEG.
        """
        if isinstance(source, str) and source.startswith("data:"):
            return cls(image_url=ImageURL(url=source))
        if not isinstance(source, bytes):
            try:
                source = Path(source).read_bytes()
            except (OSError, TypeError, ValueError) as error:
                raise ModelInvalidRequestError(f"the image cannot be read: {error}") from error
        for magic, kind in _MAGIC:
            if source.startswith(magic):
                return cls(image_url=ImageURL(url=f"data:{kind};base64,{base64.b64encode(source).decode()}"))
        raise ModelInvalidRequestError(
            "the image is neither PNG nor JPEG", hint="Convert it first: LM Studio takes no other format."
        )


_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_DATA_URLS = ("data:image/png;base64,", "data:image/jpeg;base64,", "data:image/jpg;base64,")

ContentPart: TypeAlias = TextPart | ImagePart
Content: TypeAlias = str | tuple[ContentPart, ...]


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True, tag_field="role"):
    """What all messages have in common; use one of the five kinds."""

    role: ClassVar[Role]

    # A factory, so that an empty content is written all the same: chat templates fail on a missing key.
    content: Content = msgspec.field(default_factory=str)
    """Text, or parts of text and images."""
    name: str | None = None
    """Who speaks; passes through on every role."""

    def __post_init__(self) -> None:
        force_setattr(self, "content", _content(self.content))
        if self.name is not None and not is_text(self.name):
            raise ModelInvalidRequestError(f"name must be a text, not {_kind(self.name)}")

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
            raise _refused("an assistant message's calls", error) from error


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


AnyMessage: TypeAlias = SystemMessage | UserMessage | AssistantMessage | FunctionMessage | ToolMessage
_KINDS = (SystemMessage, UserMessage, AssistantMessage, FunctionMessage, ToolMessage)
_ROLES = ("system", "user", "assistant", "function", "tool")


def _kind(value: object) -> str:
    # What was said may be secret and errors are logged: they name the kind of a wrong value, never the value.
    if isinstance(value, (list, tuple)):
        return "an empty list"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _content(value: Any) -> Content:
    if is_text(value):
        return value
    if not is_array(value) or not value:
        raise ModelInvalidRequestError(f"content must be a text or a list of parts, not {_kind(value)}")
    return tuple(_part(part) for part in value)


def _part(value: Any) -> ContentPart:
    if isinstance(value, (TextPart, ImagePart)):
        return value
    if isinstance(value, str):
        return TextPart(text=value)
    try:
        part: ContentPart = msgspec.convert(value, ContentPart)
    except msgspec.ValidationError as error:
        raise _refused("a part of content", error) from error
    return part


def _refused(what: str, error: msgspec.ValidationError) -> ModelInvalidRequestError:
    cause = error.__cause__  # an error of ours that msgspec wrapped
    if isinstance(cause, ModelInvalidRequestError):
        return ModelInvalidRequestError(f"{what}: {cause.message}", hint=cause.hint)
    return ModelInvalidRequestError(f"{what}: {error}")


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
        raise ModelInvalidRequestError(f"{field} must be a message or a dict, not {_kind(value)}")
    role = value.get("role")
    if role == "developer":
        return message_from({**value, "role": "system"}, field)
    if role not in _ROLES:
        raise ModelInvalidRequestError(f"{field}.role is {role!r:.40}; it must be one of {', '.join(_ROLES)}")
    content = value.get("content")
    if content is None and role == "assistant":  # nothing but calls, as other SDKs write it
        content = ""
    try:
        message: AnyMessage = msgspec.convert({**value, "content": _content(content)}, AnyMessage)
    except msgspec.ValidationError as error:
        raise _refused(field, error) from error
    except ModelInvalidRequestError as error:
        raise ModelInvalidRequestError(f"{field}: {error.message}", hint=error.hint) from error
    return message


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
            raise ModelInvalidRequestError(f"messages must be a list of messages, not {_kind(values)}")
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
