"""The one gate where aiohttp's errors and the system's become ours.

Words of theirs that may show a URL are left out: a proxy's holds its password.
"""

from __future__ import annotations

import re

import aiohttp

from neuroroute.errors import (
    ConfigurationError,
    LMStudioError,
    MalformedResponseError,
    ModelTimeoutError,
    NetworkError,
)

STRANGERS = (aiohttp.ClientError, OSError)
"""What comes out of aiohttp when an exchange fails."""


def translated(error: Exception, connect_timeout_ms: float = 0) -> LMStudioError:
    """Our error for one of :data:`STRANGERS`, or for a ValueError, which is how aiohttp refuses what it cannot send."""
    if isinstance(error, aiohttp.ServerTimeoutError):  # only connecting has a limit inside aiohttp
        why = f"no connection within connect_timeout_ms={connect_timeout_ms:g}"
        return ModelTimeoutError(why, details={"phase": "connecting"})
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return NetworkError(
            f"TLS failed: {error}", hint="Give the right certificates as tls=ssl.create_default_context(...)."
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        # Without aiohttp's own words: they may show the proxy's URL, password and all.
        why = "it refused" if isinstance(error, aiohttp.ClientHttpProxyError) else "no connection to it"
        return NetworkError(f"the proxy cannot be used: {why}", hint="Check proxy=..., or leave it out.")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NetworkError(f"the host {error.host!r} is unknown", hint="Check the host in base_url.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return NetworkError(f"no connection to {error.host}:{error.port}: {_why_not(error.os_error)}")
    if isinstance(error, aiohttp.ClientPayloadError):
        return NetworkError("the answer was cut short")
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError | aiohttp.ClientConnectionError):
        return NetworkError(f"the connection was lost before an answer: {str(error) or type(error).__name__}")
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError("an address cannot be used", hint="Check base_url and proxy.")
    if isinstance(error, aiohttp.ClientError):
        return MalformedResponseError(f"what answered does not speak HTTP as it should: {type(error).__name__}")
    return ConfigurationError("the request cannot be sent", hint="Check base_url, proxy and extra_headers.")


_REFUSED = frozenset(("61", "111", "1225", "10061"))
"""What macOS, Linux and Windows call a refused connection."""


def _why_not(error: OSError) -> str:
    """In words; where several addresses were tried, the system has one error for all of them."""
    numbers = {str(error.errno), *re.findall(r"(?:Errno|WinError) (\d+)", str(error))} - {"None"}
    if numbers and numbers <= _REFUSED:
        return "it was refused"
    return error.strerror or str(error)
