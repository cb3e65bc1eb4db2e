"""What the real server refuses of a chat request. Everything it does not know it ignores, and so does this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuroroute.simulator import wordings
from neuroroute.simulator.chat import prompt_tokens
from neuroroute.simulator.loosely import as_array, as_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.profiles import Profile
    from neuroroute.simulator.wordings import ErrorCase

_PICTURES = ("data:image/png;base64,", "data:image/jpeg;base64,", "data:image/jpg;base64,")


def refusal(body: Mapping[str, Any]) -> ErrorCase | None:
    """What the server says against this request, before it looks for the model; None: nothing."""
    if as_object(body.get("response_format")).get("type") == "json_object":
        return wordings.JSON_OBJECT
    if isinstance(body.get("tool_choice"), dict):
        return wordings.TOOL_CHOICE_OBJECT
    if not _well_formed(body.get("messages")):
        return wordings.MALFORMED_MESSAGES
    return refused_images(body)


def refused_images(body: Mapping[str, Any]) -> ErrorCase | None:
    """What the server says against the form of the images; None: nothing."""
    return wordings.IMAGE_URL if any(not url.startswith(_PICTURES) for url in _image_urls(body)) else None


def refusal_by(model: SimulatedModel, body: Mapping[str, Any], context: int, profile: Profile) -> ErrorCase | None:
    """What this model, loaded with such a context, cannot do of the request; None: nothing."""
    if not model.vision and any(_image_urls(body)):
        return wordings.NO_VISION
    tokens = prompt_tokens(body)
    return profile.overflow(tokens, context) if tokens >= context else None


def _well_formed(messages: object) -> bool:
    listed = as_array(messages)
    return bool(listed) and all(_well_formed_one(as_object(message)) for message in listed)


def _well_formed_one(message: Mapping[str, Any]) -> bool:
    role = message.get("role")
    return isinstance(role, str) and not (role == "tool" and not message.get("tool_call_id"))


def _image_urls(body: Mapping[str, Any]) -> Iterator[str]:
    for message in as_array(body.get("messages")):
        for part in as_array(as_object(message).get("content")):
            if as_object(part).get("type") == "image_url":
                image = part.get("image_url")
                yield str(as_object(image).get("url", image))
