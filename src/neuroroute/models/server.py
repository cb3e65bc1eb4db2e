"""A server as far as its models go: what it is asked, and which of LM Studio's APIs it has."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from neuroroute.details import ListingSource, ModelDetails, Surface
from neuroroute.errors import ConfigurationError, LMStudioError
from neuroroute.wire.counting import counted
from neuroroute.wire.failures import failure
from neuroroute.wire.lifecycle import DownloadStatus, check_unloaded, decode_download, loaded_instance
from neuroroute.wire.listing import GREETING, LISTINGS, decode_listing, greets

Ask: TypeAlias = Callable[[str, str, "bytes | None", float], Awaitable[tuple[int, bytes]]]
"""Status and body of what is answered to a method and a URL, with a body or none, within so many milliseconds."""

LESSER_KNOWN_SECONDS = 300.0
"""How long a server without the best listing is taken to have none: then it may have been updated."""

_UNKNOWN_ROUTE = (404, 405, 501)


class ModelServer:
    """Asks one server. Which listing it has is found out once, and anew when that one stops working."""

    def __init__(self, exchange: Ask, base_url: str, monotonic: Callable[[], float]) -> None:
        self._exchange = exchange
        self._root = base_url.removesuffix("/v1")
        self._monotonic = monotonic
        self._known: ListingSource | None = None
        self._known_until = 0.0
        self._greets: bool | None = None
        self._countless_until = 0.0

    async def list_models(self, timeout_ms: float) -> list[ModelDetails]:
        """Its models, from the listing that tells most of those that it has.

        Raises:
            LMStudioError: it cannot be reached, or has no listing: then how the last of them failed.
        """
        return (await self._ask(timeout_ms))[1]

    async def surface(self, timeout_ms: float) -> Surface:
        """Which APIs it has; asks nothing that is known.

        Raises:
            LMStudioError: as of :meth:`list_models`.
        """
        source = self._recent() or (await self._ask(timeout_ms))[0]
        if source != "openai":
            return Surface(listing=source, lm_studio=True)
        if self._greets is None:
            self._greets = greets(*await self._get(GREETING, timeout_ms))
        return Surface(listing=source, lm_studio=self._greets)

    async def load(self, model: str, config: Mapping[str, Any], timeout_ms: float) -> str:
        """Has it load a model once more; needs LM Studio 0.4.0 or later. The new copy's id.

        Source: https://lmstudio.ai/docs/developer/rest/load

        Raises:
            LMStudioError: it could not, or did not tell within the time limit.
        """
        body = await self._posted("/api/v1/models/load", {"model": model, **config}, timeout_ms)
        return loaded_instance(body)

    async def unload(self, instance_id: str, timeout_ms: float) -> None:
        """Has it take a copy out of memory.

        Source: https://lmstudio.ai/docs/developer/rest/unload

        Raises:
            LMStudioError: there is none, or it did not tell within the time limit.
        """
        check_unloaded(await self._posted("/api/v1/models/unload", {"instance_id": instance_id}, timeout_ms))

    async def download(self, model: str, quantization: str | None, timeout_ms: float) -> DownloadStatus:
        """Has it begin a download.

        Source: https://lmstudio.ai/docs/developer/rest/download

        Raises:
            LMStudioError: it does not know the model, or did not tell within the time limit.
        """
        wanted = {"model": model} if quantization is None else {"model": model, "quantization": quantization}
        return decode_download(await self._posted("/api/v1/models/download", wanted, timeout_ms))

    async def download_status(self, job_id: str, timeout_ms: float) -> DownloadStatus:
        """How far a download is.

        Source: https://lmstudio.ai/docs/developer/rest/download-status

        Raises:
            LMStudioError: there is none of that id, or it did not tell within the time limit.
        """
        return decode_download(_success(*await self._get(f"/api/v1/models/download/status/{job_id}", timeout_ms)))

    async def count(self, path: str, body: bytes, timeout_ms: float) -> int | None:
        """Tokens as it counts them; None where it cannot, or does not answer. LM Studio is not asked: it cannot."""
        if self._monotonic() < self._countless_until:
            return None
        try:
            if not (await self.surface(timeout_ms)).lm_studio:
                status, answer = await self._exchange("POST", self._root + path, body, timeout_ms)
                if status not in _UNKNOWN_ROUTE:
                    return counted(answer) if status < 300 else None
        except LMStudioError:
            return None
        self._countless_until = self._monotonic() + LESSER_KNOWN_SECONDS
        return None

    def _get(self, path: str, timeout_ms: float) -> Awaitable[tuple[int, bytes]]:
        return self._exchange("GET", self._root + path, None, timeout_ms)

    async def _posted(self, path: str, wanted: Mapping[str, Any], timeout_ms: float) -> bytes:
        return _success(*await self._exchange("POST", self._root + path, msgspec.json.encode(wanted), timeout_ms))

    async def _ask(self, timeout_ms: float) -> tuple[ListingSource, list[ModelDetails]]:
        ends = time.monotonic() + timeout_ms / 1000
        known = self._recent()
        failures: dict[ListingSource, LMStudioError] = {}
        for source in sorted(LISTINGS, key=lambda source: source != known):  # what is known first, else the best
            try:
                models = await self._listed(source, max((ends - time.monotonic()) * 1000, 1))
            except LMStudioError as error:
                if source == known or error.status is None:
                    self._known = self._greets = None  # it may come back as another version
                if error.status is None:  # nobody answered, and nobody will at another path
                    raise
                failures[source] = error
            else:
                self._remember(source, failures)
                return source, models
        raise failures["openai"]

    async def _listed(self, source: ListingSource, timeout_ms: float) -> list[ModelDetails]:
        return decode_listing(_success(*await self._get(LISTINGS[source], timeout_ms)), source)

    def _recent(self) -> ListingSource | None:
        return self._known if self._monotonic() < self._known_until else None

    def _remember(self, source: ListingSource, failures: Mapping[ListingSource, LMStudioError]) -> None:
        """Remembers what answered, unless a better one is there and only failed this time."""
        better = list(LISTINGS)[: list(LISTINGS).index(source)]
        if source != self._recent() and all(_is_missing(failures.get(one)) for one in better):
            self._known = source
            self._known_until = self._monotonic() + (LESSER_KNOWN_SECONDS if better else float("inf"))


def _success(status: int, body: bytes) -> bytes:
    if status >= 300:
        raise failure(status, body, {})
    return body


def _is_missing(error: LMStudioError | None) -> bool:
    """Whether the server does not know the route; LM Studio says so in a 200 (#618)."""
    return isinstance(error, ConfigurationError) or (error is not None and error.status in _UNKNOWN_ROUTE)
