from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conftest import FakeClock
from neuroroute import LMStudioAdapter, ModelInvalidRequestError, NetworkError, SyncLMStudioAdapter, UserMessage, tool
from neuroroute.models import server as module
from neuroroute.models.server import ModelServer

if TYPE_CHECKING:
    from neuroroute.simulator import Simulator

MESSAGES = [{"role": "user", "content": "x" * 400}]


@tool
def look(city: str) -> str:
    """Looks at a city."""
    return city


async def test_lm_studio_is_not_asked(adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """LM Studio cannot count: it is told apart by its listing and bothered no further; the estimate is given."""
    assert await adapter.count_tokens("x" * 400) == adapter.estimate_tokens("x" * 400) == 100
    assert await adapter.count_tokens("") == 0
    with_system = await adapter.count_tokens(MESSAGES)
    assert with_system == 104 + 1 + 11 + 1
    assert await adapter.count_tokens(MESSAGES, tools=[look]) > with_system + 20
    assert {request.path for request in lmstudio.requests} <= {"/api/v1/models", "/lmstudio-greeting"}
    assert len(lmstudio.requests) <= 2


async def test_a_server_that_is_down_leaves_the_estimate(clock: FakeClock) -> None:
    """Counting never fails for a server, and the next time it is asked again."""
    async with LMStudioAdapter("llama3", base_url="http://127.0.0.1:9/v1", clock=clock) as adapter:
        assert await adapter.count_tokens([UserMessage(content="x" * 400)]) == 117


async def test_any_host_may_count(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> None:
    """Where the first of several hosts cannot count, the next one is asked."""

    async def count(self: ModelServer, path: str, body: bytes, timeout_ms: float) -> int | None:
        return 7 if "11" in self._root else None

    monkeypatch.setattr(ModelServer, "count", count)
    hosts = ["http://127.0.0.1:9/v1", "http://127.0.0.1:11/v1"]
    async with LMStudioAdapter("llama3", base_url=hosts, clock=clock) as adapter:
        assert await adapter.count_tokens("x" * 400) == 7


def test_without_asyncio(lmstudio: Simulator) -> None:
    """The blocking adapter counts, too."""
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        assert adapter.count_tokens("x" * 400) == adapter.estimate_tokens("x" * 400) == 100


@pytest.mark.parametrize(
    ("given", "tools", "match"),
    [
        (5, (), "text_or_messages must be a text or a list of messages, not a int"),
        ({"role": "user"}, (), "text_or_messages"),
        (["hi"], (), "messages"),
        ([{"role": "sage", "content": ""}], (), "role"),
        ([], (), "nothing to send"),
        (MESSAGES, [5], "tools"),
        ("hi", [look], "a text alone offers none"),
        ("\ud800", (), "lone surrogate"),
        ([{"role": "user", "content": "\ud800"}], (), "lone surrogate"),
    ],
)
async def test_what_cannot_be_counted_is_named(
    adapter: LMStudioAdapter, lmstudio: Simulator, given: Any, tools: Any, match: str
) -> None:
    """Wrong input raises before anybody is asked."""
    with pytest.raises(ModelInvalidRequestError, match=match):
        await adapter.count_tokens(given, tools)
    assert lmstudio.requests == []


def test_an_estimate_is_of_a_text() -> None:
    """estimate_tokens takes texts alone."""
    with pytest.raises(ModelInvalidRequestError, match="text must be a text, not a value of type int"):
        LMStudioAdapter("llama3").estimate_tokens(5)  # type: ignore[arg-type]


class Server:
    """What a server that is no LM Studio says to each path."""

    def __init__(self, **said: Any) -> None:
        self.said = {"/v1/models": (200, b'{"data":[]}'), "/lmstudio-greeting": (404, b""), **said}
        self.asked: list[str] = []

    async def __call__(self, method: str, url: str, body: bytes | None, timeout_ms: float) -> tuple[int, bytes]:
        path = url.removeprefix("http://h")
        self.asked.append(path)
        said = self.said.get(path, (404, b""))
        if isinstance(said, Exception):
            raise said
        return said  # type: ignore[no-any-return]


async def test_who_can_count_is_asked_each_time(clock: FakeClock) -> None:
    """A server with the route counts; which APIs it has is asked once."""
    asked = Server(**{"/tokenize": (200, b'{"tokens":[1,2]}')})
    server = ModelServer(asked, "http://h/v1", clock.monotonic)
    assert [await server.count("/tokenize", b"{}", 100) for _ in range(2)] == [2, 2]
    assert asked.asked[-2:] == ["/tokenize", "/tokenize"]
    assert asked.asked.count("/lmstudio-greeting") == 1


async def test_who_cannot_count_is_left_alone_for_a_while(clock: FakeClock) -> None:
    """A server without the route is asked again after five minutes: it may have been updated."""
    asked = Server()
    server = ModelServer(asked, "http://h/v1", clock.monotonic)
    assert [await server.count("/tokenize", b"{}", 100) for _ in range(2)] == [None, None]
    assert asked.asked.count("/tokenize") == 1
    asked.said["/tokenize"] = (200, b'{"tokens":[1,2]}')
    clock.now += module.LESSER_KNOWN_SECONDS
    assert await server.count("/tokenize", b"{}", 100) == 2


@pytest.mark.parametrize("said", [NetworkError("refused"), (500, b'{"tokens":[1]}'), (200, b"no")])
async def test_who_fails_once_is_asked_again(clock: FakeClock, said: Any) -> None:
    """A failure says nothing about the next time."""
    asked = Server(**{"/tokenize": said})
    server = ModelServer(asked, "http://h/v1", clock.monotonic)
    assert [await server.count("/tokenize", b"{}", 100) for _ in range(2)] == [None, None]
    assert asked.asked.count("/tokenize") == 2
