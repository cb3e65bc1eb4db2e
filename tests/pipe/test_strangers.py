"""What aiohttp says, and what of it may be told."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from neuroroute import LMStudioAdapter, NetworkError
from neuroroute.pipe.strangers import translated

URL = "http://user:s3cret@proxy:8080"


@pytest.mark.parametrize("error", [aiohttp.InvalidURL(URL), aiohttp.InvalidUrlClientError(URL), ValueError(URL)])
def test_no_url_is_ever_shown(error: Exception) -> None:
    """A URL may hold a password, so an error names the settings that may be wrong, and shows none of them."""
    ours = translated(error)
    assert ours.code == "CONFIGURATION"
    assert "proxy" in ours.hint
    assert "s3cret" not in str(ours) + repr(ours)


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1234)"), "it was refused"),
        (
            OSError("Multiple exceptions: [Errno 61] Connect failed, [Errno 61] Connect failed"),
            "it was refused",
        ),
        (OSError("Multiple exceptions: [Errno 111] refused, [Errno 101] unreachable"), "Multiple exceptions"),
        (OSError("[WinError 1225] The remote computer refused the network connection"), "it was refused"),
        (OSError(113, "No route to host"), "No route to host"),
    ],
)
def test_why_there_is_no_connection(system: OSError, words: str) -> None:
    """Refusal is told as such on every system, by whatever number; else the system's own words are."""
    key = ConnectionKey("localhost", 1234, False, True, None, None, None)
    assert f"no connection to localhost:1234: {words}" in translated(aiohttp.ClientConnectorError(key, system)).message


async def test_nobody_there(unused_tcp_port: int) -> None:
    """A port that nobody listens on says so in words, without aiohttp's."""
    async with LMStudioAdapter("m", base_url=f"localhost:{unused_tcp_port}", max_retries=0) as adapter:
        with pytest.raises(NetworkError, match=rf"no connection to localhost:{unused_tcp_port}: it was refused\."):
            await adapter.generate_completion("hi")
        with pytest.raises(NetworkError, match=r"the host 'nobody\.invalid' is unknown"):
            await LMStudioAdapter("m", base_url="nobody.invalid", max_retries=0).generate_completion("hi")
