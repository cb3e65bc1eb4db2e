"""Images as they may be sent, and parts made by hand."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import ImagePart, ModelInvalidRequestError, TextPart, UserMessage

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
JPEG = b"\xff\xd8\xff\xe0" + b"0" * 8


def data_url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("data:image/png;base64,!!!", "no base64"),
        ("data:image/png;base64,é", "no base64"),
        ("data:image/png;base64,iVBORw0KGgo", "no base64"),
        ("data:image/png;base64,", r"says image/png, but what it holds is none \(0 bytes\)"),
        (data_url("png", b"RIFF....WEBPVP8 "), "says image/png, but what it holds is none"),
        (data_url("png", JPEG), "says image/png"),
        (data_url("jpeg", PNG), "says image/jpeg"),
        (data_url("webp", PNG), "data URL of a PNG or JPEG"),
        ("data:image/png," + "0" * 10, "data URL of a PNG or JPEG"),
        ("image/png;base64,iVBORw0KGgo=", "data URL of a PNG or JPEG"),
    ],
)
def test_a_data_url_is_looked_at(url: str, says: str) -> None:
    """What a data URL holds is base64 of the kind that it says, however the part is made, and is never shown."""
    ways: list[Any] = [
        lambda: ImagePart(image_url={"url": url}),  # type: ignore[arg-type]
        lambda: UserMessage(content=[{"type": "image_url", "image_url": {"url": url}}]),  # type: ignore[arg-type]
    ]
    if url.startswith("data:"):
        ways.append(lambda: ImagePart.of(url))
    for way in ways:
        with pytest.raises(ModelInvalidRequestError, match=says) as caught:
            way()
        payload = url.partition(",")[2]
        assert not payload or payload not in str(caught.value)


@pytest.mark.parametrize(("kind", "data"), [("png", PNG), ("jpeg", JPEG), ("jpg", JPEG)])
def test_a_right_data_url_is_taken(kind: str, data: bytes) -> None:
    """PNG and JPEG are taken, by either name of the latter; a dict becomes what it describes."""
    part = ImagePart(image_url={"url": data_url(kind, data), "detail": "low"})  # type: ignore[arg-type]
    assert (part.image_url.url, part.image_url.detail) == (data_url(kind, data), "low")


@given(st.text(max_size=20))
def test_any_payload_is_refused_clearly(payload: str) -> None:
    """No text after the comma makes the check fail in another way."""
    with pytest.raises(ModelInvalidRequestError, match="image_url"):
        ImagePart.of(f"data:image/png;base64,{payload}")


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_of_any_kind_are_an_image(kind: Any) -> None:
    """A bytearray and a memoryview are as good as bytes."""
    assert ImagePart.of(kind(PNG)) == ImagePart.of(PNG)


@pytest.mark.parametrize("url", ["http://x/y.png", "HTTPS://x/y.png"])
def test_an_address_is_no_image(url: str) -> None:
    """An address is told to be one: LM Studio would not fetch it."""
    with pytest.raises(ModelInvalidRequestError, match="LM Studio fetches no URLs"):
        ImagePart.of(url)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TextPart(text=5), "text of a part must be a text, not a value of type int"),  # type: ignore[arg-type]
        (lambda: TextPart(text=None), "text of a part must be a text, not None"),  # type: ignore[arg-type]
        (lambda: ImagePart(image_url=5), "image_url must be a dict"),  # type: ignore[arg-type]
        (lambda: ImagePart(image_url="s3cret"), "image_url must be a dict"),  # type: ignore[arg-type]
        (lambda: ImagePart(image_url={}), "`url`"),  # type: ignore[arg-type]
        (lambda: ImagePart(image_url={"url": b"s3cret"}), "image_url"),  # type: ignore[arg-type]
        (lambda: ImagePart(image_url={"url": data_url("png", PNG), "detail": 5}), "detail"),  # type: ignore[arg-type]
    ],
)
def test_parts_made_by_hand_are_checked(make: Any, says: str) -> None:
    """A part that could not be sent is refused where it is made; what it holds is not shown."""
    with pytest.raises(ModelInvalidRequestError, match=says) as caught:
        make()
    assert "s3cret" not in str(caught.value)
