"""Parts of a message's content, text and images, and what a text may be."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from neuroroute.errors import ModelInvalidRequestError
from neuroroute.jsontypes import is_array, is_mapping, is_text


def kind_of(value: object) -> str:
    """What a wrong value is, to end a sentence with."""
    # What was said may be secret and errors are logged: they name the kind of a wrong value, never the value.
    if is_array(value) and not value:
        return "an empty list"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def plain_text(value: Any, field: str) -> str:
    """The text; of a subclass (``markupsafe.Markup``), whose methods may do otherwise and which JSON refuses, a copy.

    Raises:
        ModelInvalidRequestError: it is none; names the field.
    """
    if type(value) is str:
        return value
    if not is_text(value):
        raise ModelInvalidRequestError(f"{field} must be a text, not {kind_of(value)}")
    return str.__str__(value)


def refused(what: str, error: msgspec.ValidationError) -> ModelInvalidRequestError:
    """Our error for one of msgspec's, which may hold one of ours."""
    cause = error.__cause__
    if isinstance(cause, ModelInvalidRequestError):
        return ModelInvalidRequestError(f"{what}: {cause.message}", hint=cause.hint)
    return ModelInvalidRequestError(f"{what}: {error}")


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A piece of text in a message of several parts."""

    text: str

    def __post_init__(self) -> None:
        force_setattr(self, "text", plain_text(self.text, "text of a part"))


class ImageURL(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an image is: for LM Studio always a base64 data URL."""

    url: str
    detail: str | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "url", plain_text(self.url, "image_url.url"))
        if self.detail is not None:
            force_setattr(self, "detail", plain_text(self.detail, "image_url.detail"))


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    """An image in a message, as a base64 data URL of a PNG or JPEG: LM Studio takes nothing else.

    Make one from a file, bytes or a data URL with :meth:`of`.
    """

    image_url: ImageURL
    """Where it is; a dict of the same shape is taken, too."""

    def __post_init__(self) -> None:
        image_url = _image_url(self.image_url)
        force_setattr(self, "image_url", image_url)
        _check_image(image_url.url)

    @classmethod
    def of(cls, source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> ImagePart:
        """An image from a PNG or JPEG file, its bytes, or a data URL.

        Args:
            source: a path, the file's bytes, or a text that begins with ``data:``.

        Raises:
            ModelInvalidRequestError: the file cannot be read, or is neither PNG nor JPEG.
        """
        if isinstance(source, str):
            if source.startswith("data:"):
                return cls(image_url=ImageURL(url=source))
            if source.lower().startswith(("http://", "https://")):
                raise ModelInvalidRequestError(
                    "an image is given by its file, its bytes or a data URL, not by its address",
                    hint="Download it first: LM Studio fetches no URLs.",
                )
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(source)
        else:
            try:
                data = Path(source).read_bytes()
            except (OSError, TypeError, ValueError) as error:
                raise ModelInvalidRequestError(f"the image cannot be read: {error}") from error
        for kind, magic in _MAGIC.items():
            if data.startswith(magic):
                return cls(image_url=ImageURL(url=f"data:{kind};base64,{base64.b64encode(data).decode()}"))
        raise ModelInvalidRequestError(
            "the image is neither PNG nor JPEG", hint="Convert it first: LM Studio takes no other format."
        )


ContentPart: TypeAlias = TextPart | ImagePart
Content: TypeAlias = str | tuple[ContentPart, ...]

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_MAGIC = {"image/png": _PNG, "image/jpeg": _JPEG, "image/jpg": _JPEG}
"""How a file of each kind begins."""


def _image_url(value: Any) -> ImageURL:
    if isinstance(value, ImageURL):
        return value
    if not is_mapping(value):
        raise ModelInvalidRequestError(
            f'image_url must be a dict such as {{"url": "data:image/png;base64,..."}}, not {kind_of(value)}'
        )
    try:
        return msgspec.convert(value, ImageURL)
    except msgspec.ValidationError as error:
        raise refused("image_url", error) from error


def _check_image(url: str) -> None:
    head, _, payload = url.partition(";base64,")
    magic = _MAGIC.get(head.removeprefix("data:")) if head.startswith("data:") else None
    if magic is None:
        raise ModelInvalidRequestError(
            "image_url.url must be a base64 data URL of a PNG or JPEG",
            hint="Make it with ImagePart.of(path, bytes or data URL); LM Studio fetches no URLs.",
        )
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:  # the latter for what is not ASCII
        raise ModelInvalidRequestError(f"image_url.url holds what is no base64: {error}") from error
    if not data.startswith(magic):
        raise ModelInvalidRequestError(
            f"image_url.url says {head.removeprefix('data:')}, but what it holds is none ({len(data)} bytes)",
            hint="Make it with ImagePart.of(path or bytes), which finds out what it is.",
        )


def content_of(value: Any) -> Content:
    """Content as messages hold it, from a text or a list of parts or dicts.

    Raises:
        ModelInvalidRequestError: it is neither; never shows it.
    """
    if is_text(value):
        return value if type(value) is str else plain_text(value, "content")
    if not is_array(value) or not value:
        raise ModelInvalidRequestError(f"content must be a text or a list of parts, not {kind_of(value)}")
    return tuple(_part(part) for part in value)


def _part(value: Any) -> ContentPart:
    if isinstance(value, (TextPart, ImagePart)):
        return value
    if isinstance(value, str):
        return TextPart(text=value)
    try:
        part: ContentPart = msgspec.convert(value, ContentPart)
    except msgspec.ValidationError as error:
        raise refused("a part of content", error) from error
    return part
