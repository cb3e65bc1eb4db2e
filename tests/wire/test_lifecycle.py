from __future__ import annotations

from collections.abc import Callable

import pytest

from neuroroute import ConfigurationError, LMStudioError
from neuroroute.wire.lifecycle import check_unloaded, decode_download, loaded_instance


def test_what_is_said_is_read() -> None:
    """The copy's id, and how far a download is, whatever is left out."""
    assert loaded_instance(b'{"type":"llm","instance_id":"a:2","status":"loaded","load_time_seconds":1.5}') == "a:2"
    check_unloaded(b'{"instance_id":"a"}')
    assert decode_download(b'{"status":"already_downloaded"}').job_id == ""
    status = decode_download(b'{"job_id":"j","status":"downloading","total_size_bytes":9.0,"bytes_per_second":1.5}')
    assert (status.total_size_bytes, status.downloaded_bytes) == (9, None)


@pytest.mark.parametrize("read", [loaded_instance, check_unloaded, decode_download])
@pytest.mark.parametrize("body", [b"", b"[]", b'{"instance":1}', b'{"status":1,"instance_id":1}'])
def test_an_answer_of_another_shape(read: Callable[[bytes], object], body: bytes) -> None:
    """An answer that says something else is a typed error."""
    with pytest.raises(LMStudioError):
        read(body)


def test_a_load_that_is_not_said_to_be_done() -> None:
    """Only "loaded" is loaded; an unknown route, which is a 200, is told as such."""
    with pytest.raises(LMStudioError, match="does not say that the model is loaded"):
        loaded_instance(b'{"instance_id":"a","status":"loading"}')
    with pytest.raises(ConfigurationError, match="Unexpected endpoint"):
        loaded_instance(b'{"error":"Unexpected endpoint or method. (POST /api/v1/models/load)"}')
