"""What aiohttp says, and what of it may be told."""

from __future__ import annotations

import aiohttp
import pytest

from neuroroute.pipe.strangers import translated

URL = "http://user:s3cret@proxy:8080"


@pytest.mark.parametrize("error", [aiohttp.InvalidURL(URL), aiohttp.InvalidUrlClientError(URL), ValueError(URL)])
def test_no_url_is_ever_shown(error: Exception) -> None:
    """A URL may hold a password, so an error names the settings that may be wrong, and shows none of them."""
    ours = translated(error)
    assert ours.code == "CONFIGURATION"
    assert "proxy" in ours.hint
    assert "s3cret" not in str(ours) + repr(ours)
