"""What is seen of a server from outside: its name, its port, and what its pages say."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from neuroroute.hostlist import HostSettings
from neuroroute.wire.listing import GREETING, LISTINGS

Failure: TypeAlias = Literal[
    "refused", "timeout", "slow", "unreachable", "untrusted", "tls", "closed", "cut", "not-http"
]
"""``timeout``: nothing more came; ``slow``: more was still coming when the time was over."""

USUAL_PORTS: Final = (1234, 11434, 8080)
"""Where LM Studio, Ollama and llama.cpp listen, unless told otherwise."""

PATHS: Final = tuple(LISTINGS.values())
"""Of the listings."""

_MOST_BYTES: Final = 4 << 20
_MOST_ADDRESSES: Final = 4
_LOOPBACKS: Final = ("127.0.0.1", "::1")
_STILL_COMING: Final = 0.3
"""Of the time that a page has: the longest silence before its end that is none."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered to one request, or how that failed."""

    failure: Failure | None = None
    status: int = 0
    server: str = ""
    """What it calls itself."""
    location: str = ""
    """Where it redirects to, without its query."""
    body: bytes = b""
    ms: float = 0.0
    """Until its first byte."""
    whole_ms: float = 0.0
    """Until its last."""


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """A connection to one address."""

    address: str
    failure: Failure | None
    ms: float


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """What answers at another port, or at another address."""

    host: str
    port: int
    pages: dict[str, Page]


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen of a server."""

    url: str
    """Its base URL."""
    known: bool = True
    """Whether the name has an address."""
    tries: tuple[Try, ...] = ()
    """One for each address, in the order that the system gives."""
    pages: dict[str, Page] = {}
    """By their paths, below the address without its ``/v1``."""
    at_root: dict[str, Page] = {}
    """The same at the server's root, where the address has a path of its own."""
    other_scheme: Page | None = None
    """What answers if http is https, and the reverse; None: it was not tried."""
    without_token: Page | None = None
    """The listing without the token that was given."""
    posts: dict[str, Page] = {}
    """What an empty request is told by the routes of ``/v1``."""
    neighbours: tuple[Neighbour, ...] = ()
    """What answers at other ports and addresses."""

    @property
    def opened(self) -> bool:
        """Whether a connection came to be."""
        return any(one.failure is None for one in self.tries)

    @property
    def host(self) -> str:
        """The name in the address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port in the address."""
        return port_of(self.url)

    @property
    def at(self) -> str:
        """Name and port, for a sentence."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, by a loopback address."""
        return any(one.address.startswith("127.") or one.address == "::1" for one in self.tries)


def bracketed(host: str) -> str:
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def port_of(url: str) -> int:
    """The port of an address, said or not."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


async def look_at(host: HostSettings, *, within: float, ports: Sequence[int] = USUAL_PORTS) -> Door:
    """Looks at a server; sends nothing that runs or loads a model.

    Args:
        host: where it is.
        within: seconds that each connection and each answer may take.
        ports: where else to look if nothing is there.
    """
    door = Door(url=host.url)
    addresses = await _addresses(door.host, door.port, within)
    if not addresses:
        return msgspec.structs.replace(door, known=False)
    tries = await asyncio.gather(*(_connect(address, door.port, within) for address in addresses))
    door = msgspec.structs.replace(door, tries=tuple(tries))
    opened = [one.address for one in tries if one.failure is None]
    if opened:
        async with _session(opened[0]) as session:
            door = await _Look(session, within, host.api_token).inside(door)
    places = [(address, door.port) for address in opened[1:]]
    if not any(page.status == 200 for path, page in door.pages.items() if path in PATHS):
        places += [(door.host, port) for port in ports if port != door.port]
        more = set(_LOOPBACKS) - set(addresses) if door.is_local else ()
        places += [(address, port) for address in sorted(more) for port in dict.fromkeys((door.port, *ports))]
    async with _session() as session:
        # No token for strangers.
        return msgspec.structs.replace(door, neighbours=await _Look(session, within, None).neighbours(door, places))


def _session(address: str | None = None) -> aiohttp.ClientSession:
    """A session; with an address, one whose every name leads there, so that all pages are one server's."""
    connector = None if address is None else aiohttp.TCPConnector(resolver=_Pinned(address))
    return aiohttp.ClientSession(connector=connector, auto_decompress=False)


class _Pinned(AbstractResolver):
    """Knows one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """That address, whatever the name."""
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        return [ResolveResult(hostname=host, host=self._address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Holds nothing."""


class _Look:
    """Asks for pages, each within its time."""

    def __init__(self, session: aiohttp.ClientSession, within: float, token: str | None) -> None:
        self._session = session
        self._within = within
        self._token = token

    async def inside(self, door: Door) -> Door:
        """The pages of a server that accepts connections."""
        root = door.url.removesuffix("/v1")
        parts = urlsplit(root)
        origin = f"{parts.scheme}://{parts.netloc}"
        pages = await self._pages(root, (GREETING, *PATHS, "/"))
        at_root = await self._pages(origin, (GREETING, *PATHS)) if origin != root else {}
        listing = pages["/v1/models"]
        other = without = None
        posts: dict[str, Page] = {}
        if listing.failure is not None or listing.status == 400:
            other = await self._page(f"{'http' if parts.scheme == 'https' else 'https'}://{parts.netloc}/", token=False)
        elif listing.status == 200:
            routes = ("/v1/responses", "/v1/embeddings")
            asked = [self._page(root + route, b"{}") for route in routes]
            posts = dict(zip(routes, await asyncio.gather(*asked), strict=True))
            if self._token:
                without = await self._page(f"{root}/v1/models", token=False)
        return msgspec.structs.replace(
            door, pages=pages, at_root=at_root, other_scheme=other, posts=posts, without_token=without
        )

    async def neighbours(self, door: Door, places: Sequence[tuple[str, int]]) -> tuple[Neighbour, ...]:
        """What answers at other ports and addresses of that machine."""
        scheme = urlsplit(door.url).scheme
        asked = [
            self._pages(
                f"{scheme if port == door.port else 'http'}://{bracketed(host)}:{port}",
                (GREETING, "/v1/models", "/"),
                token=False,
            )
            for host, port in places
        ]
        answers = await asyncio.gather(*asked)
        return tuple(
            Neighbour(host=host, port=port, pages=pages)
            for (host, port), pages in zip(places, answers, strict=True)
            if any(page.status for page in pages.values())
        )

    async def _pages(self, root: str, paths: Sequence[str], *, token: bool = True) -> dict[str, Page]:
        pages = await asyncio.gather(*(self._page(root + path, token=token) for path in paths))
        return dict(zip(paths, pages, strict=True))

    async def _page(self, url: str, body: bytes | None = None, *, token: bool = True) -> Page:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if token and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        clock = asyncio.get_running_loop().time
        began = last = clock()
        try:
            async with (
                asyncio.timeout(self._within),
                self._session.request(
                    "GET" if body is None else "POST",
                    url,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=True if token else False,  # noqa: SIM210 - None of a secret goes where nobody is checked
                ) as response,
            ):
                read = await response.content.read(1)
                last = clock()
                ms = (last - began) * 1000
                while len(read) < _MOST_BYTES and (more := await response.content.readany()):
                    read += more
                    last = clock()
                return Page(
                    status=response.status,
                    server=response.headers.get("Server", ""),
                    location=response.headers.get("Location", "").partition("?")[0],
                    body=read,
                    ms=ms,
                    whole_ms=(last - began) * 1000,
                )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            failure = failure_of(error)
            if failure == "timeout" and last > began and clock() - last < self._within * _STILL_COMING:
                failure = "slow"
            return Page(failure=failure, ms=(clock() - began) * 1000)


def failure_of(error: Exception) -> Failure:
    """How an exchange failed, in a word."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "untrusted"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "refused"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "cut"
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return "closed"
    return "not-http"


async def _addresses(host: str, port: int, within: float) -> list[str]:
    """The addresses of a name, in the order that the system gives."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (TimeoutError, OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(one[4][0]) for one in found))[:_MOST_ADDRESSES]


async def _connect(address: str, port: int, within: float) -> Try:
    clock = asyncio.get_running_loop().time
    began = clock()
    failure: Failure | None = None
    try:
        async with asyncio.timeout(within):
            _, writer = await asyncio.open_connection(address, port)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    except TimeoutError:
        failure = "timeout"
    except ConnectionRefusedError:
        failure = "refused"
    except OSError:
        failure = "unreachable"
    return Try(address=address, failure=failure, ms=(clock() - began) * 1000)
