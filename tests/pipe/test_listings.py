from __future__ import annotations

import asyncio

from neuroroute import ModelDetails, NetworkError
from neuroroute.pipe.background import Background
from neuroroute.pipe.listings import Listings


class Server:
    """Lists one model, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False
        self.told: list[list[ModelDetails]] = []
        self.background = Background()
        self.listings = Listings(self.background, self.list_models, self.told.append)

    async def list_models(self) -> list[ModelDetails]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise NetworkError("down")
        return [ModelDetails(key="M", source="v1", loaded=self.asked > 1)]


async def test_many_ask_once() -> None:
    """Those who ask at the same time are told from one listing, and each is told of its own model."""
    server = Server()
    found = await asyncio.gather(*(server.listings.details(name) for name in ("m", "M", "x")))
    assert [model and model.key for model in found] == ["M", "M", None]
    assert (server.asked, len(server.told)) == (1, 1)


async def test_what_is_told_is_as_new_as_was_asked_for() -> None:
    """Without an age the server is asked anew; with one, what was listed before will do."""
    server = Server()
    await server.listings.details("m")
    same = await server.listings.details("m", max_age=60)
    assert (same and same.loaded, server.asked) == (False, 1)
    new = await server.listings.details("m")
    assert (new and new.loaded, server.asked) == (True, 2)


async def test_a_server_that_is_down_lists_nothing() -> None:
    """A listing that fails is no error: nothing is known."""
    server = Server()
    server.down = True
    assert await server.listings.details("m") is None
    assert server.told == []


async def test_asking_in_the_background_is_seldom() -> None:
    """What is asked beside a request is asked once in a while, also where it fails."""
    server = Server()
    server.down = True
    for _ in range(3):
        server.listings.ask(60)
        await asyncio.sleep(0.001)
    assert server.asked == 1
    server.listings.ask(0)
    await asyncio.sleep(0.001)
    assert server.asked == 2
    await server.background.aclose()
