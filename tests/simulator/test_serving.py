"""What simulator, recorder and replay share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from neuroroute.simulator.serving import LoopbackServer

if TYPE_CHECKING:
    from aiohttp import web

    from neuroroute.simulator import Received


class Lost(LoopbackServer):
    """Finds its client gone in the middle of a write."""

    async def _serve(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        raise ConnectionResetError


async def test_a_write_to_a_lost_connection_is_the_clients_leaving(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A client found gone while writing has closed early; the server has nothing to complain of."""
    with caplog.at_level(logging.WARNING):
        async with Lost() as server:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await client.whole(server)
            assert server.requests[0].closed_early
    assert not caplog.records
