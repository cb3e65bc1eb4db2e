"""What LM Studio's native API answers when models are loaded, unloaded and downloaded.

Source: https://lmstudio.ai/docs/developer/rest
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from neuroroute.wire.failures import UNDECODABLE, failure_in_success

T = TypeVar("T")


class _Loaded(msgspec.Struct):
    instance_id: str
    status: str = ""


class _Unloaded(msgspec.Struct):
    instance_id: str


class DownloadStatus(msgspec.Struct, frozen=True):
    """How far a download is."""

    status: str
    """``downloading``, ``paused``, ``completed``, ``failed`` or ``already_downloaded``."""
    job_id: str = ""
    total_size_bytes: float | None = None
    downloaded_bytes: float | None = None
    bytes_per_second: float | None = None


def loaded_instance(body: bytes) -> str:
    """The id of the copy that was loaded.

    Raises:
        LMStudioError: the answer does not say that one was; an unknown route answers 200 with an error (#618).
    """
    loaded = _decoded(body, _Loaded)
    if loaded.status != "loaded":
        raise failure_in_success(body, why="it does not say that the model is loaded")
    return loaded.instance_id


def check_unloaded(body: bytes) -> None:
    """Sees to it that the answer says what was unloaded.

    Raises:
        LMStudioError: it does not.
    """
    _decoded(body, _Unloaded)


def decode_download(body: bytes) -> DownloadStatus:
    """How far a download is.

    Raises:
        LMStudioError: the answer does not tell.
    """
    return _decoded(body, DownloadStatus)


def _decoded(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except UNDECODABLE as error:
        raise failure_in_success(body, why=str(error)) from error
