"""Fleets without sockets: hosts that answer after a time, under the layers that choose among them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from neuroroute import BreakerPolicy, RetryPolicy
from neuroroute.details import ModelDetails, ModelInstance
from neuroroute.hostlist import HostSettings
from neuroroute.messages import UserMessage
from neuroroute.options import DEFAULTS
from neuroroute.pipe.admit import admit
from neuroroute.pipe.background import Background
from neuroroute.pipe.breaker import breaker
from neuroroute.pipe.capable import capable
from neuroroute.pipe.deadline import deadline
from neuroroute.pipe.hosts import Hosts
from neuroroute.pipe.loadonce import loadonce
from neuroroute.pipe.policies import HostPolicy
from neuroroute.pipe.reply import Reply, Send, pipe
from neuroroute.pipe.retry import retry
from neuroroute.pipe.route import route
from neuroroute.pipe.transport import WholeReply
from neuroroute.requests import ChatRequest
from neuroroute.wire.endpoints import CHAT
from virtualtime import LoopClock, VirtualLoop

ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}],"model":"m"}'

Serve = Callable[[ChatRequest], Any]
"""What a host does of a request: awaits its time, and raises what it fails with."""


def url(name: str) -> str:
    return f"http://{name}:1234/v1"


def listed(*copies: ModelInstance, key: str = "m") -> ModelDetails:
    return ModelDetails(key=key, source="v1", loaded=bool(copies), instances=copies)


LOADED = listed(ModelInstance(id="m", parallel=4, context_length=4096))


class Fleet:
    """Hosts of these names, the listing of each, and how each serves."""

    def __init__(
        self,
        serves: Mapping[str, Serve],
        listings: Mapping[str, list[ModelDetails]] | None = None,
        *,
        clock: Any = None,
        seed: int = 1,
        settings: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.clock = clock or LoopClock()
        self.events: list[Any] = []
        self.asked: Counter[str] = Counter()
        self.listings = {**{name: [LOADED] for name in serves}, **(listings or {})}
        policy, random = RetryPolicy(), Random(seed)
        self.hosts = Hosts(
            HostPolicy(
                breaker=BreakerPolicy(),
                retry_budget=policy.budget,
                slots=None,
                clock=self.clock,
                random=random,
                tell=self.events.append,
                background=Background(),
                list_models=self._list,
            )
        )
        more = settings or {}
        self.hosts.use([HostSettings(url=url(name), name=name, **more.get(name, {})) for name in serves])
        self._serves = dict(serves)
        self.answers = dict.fromkeys(serves, ANSWER)
        self.send: Send = pipe(
            deadline(self.clock),
            retry(policy, self.clock, random, self.hosts, self.events.append),
            route(self.hosts, self.events.append),
            capable(self.hosts, self.clock),
            loadonce(self.hosts),
            admit(self.hosts, self.clock),
            breaker(self.hosts, self.clock, None),
            transport=self._transport,
        )

    async def listed(self) -> Fleet:
        """With all listings known."""
        await asyncio.gather(*(host.listings.models() for host in self.hosts.all))
        return self

    async def ask(self, text: str = "?", model: str = "m", **options: Any) -> Reply:
        """Sends a request."""
        made = request(text, model, **options)
        self.hosts.assign(made)
        return await self.send(made)

    async def _list(self, base_url: str) -> list[ModelDetails]:
        return self.listings[base_url.removeprefix("http://").removesuffix(":1234/v1")]

    async def _transport(self, request: ChatRequest) -> Reply:
        self.asked[request.host] += 1
        await self._serves[request.host](request)
        return WholeReply(self.answers[request.host], request)


def request(text: str = "?", model: str = "m", **options: Any) -> ChatRequest:
    given = {**DEFAULTS, "timeout_ms": 60_000.0, **options}
    messages: list[Any] = [UserMessage(content=text)]
    made = ChatRequest(
        endpoint=CHAT, model=model, messages=messages, body=b"", streaming=False, options=given, notes=[]
    )
    made.encode()
    return made


def under_load(means: Mapping[str, float], per_second: float, requests: int) -> tuple[list[float], Fleet]:
    """What so many requests that come at random take, sorted, in a time that jumps.

    Args:
        means: of each host, how long its answers take in the mean (seconds); some take three times as long.
        per_second: how many requests come.
        requests: how many there are.
    """

    async def load() -> tuple[list[float], Fleet]:
        random, loop = Random(1), asyncio.get_running_loop()

        def takes(mean: float) -> Serve:
            return lambda _: asyncio.sleep(random.gammavariate(4, mean / 4))

        fleet = await Fleet({name: takes(mean) for name, mean in means.items()}).listed()
        latencies: list[float] = []

        async def one(number: int) -> None:
            began = loop.time()
            await fleet.ask(f"{number}", timeout_ms=3_600_000.0)
            latencies.append(loop.time() - began)

        async with asyncio.TaskGroup() as tasks:
            for number in range(requests):
                await asyncio.sleep(random.expovariate(per_second))
                tasks.create_task(one(number))
        return sorted(latencies), fleet

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(load())
