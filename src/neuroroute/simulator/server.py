"""The simulated LM Studio: its routes, and what it was told to answer."""

from __future__ import annotations

import inspect
import itertools
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from neuroroute.simulator import catalogue, chat, validation
from neuroroute.simulator.answers import Answer, Fail
from neuroroute.simulator.loosely import as_object
from neuroroute.simulator.models import Unresolved, default_models, list_openai, list_v0, list_v1, one_v0, resolve
from neuroroute.simulator.sending import of_fail, of_json, transmit
from neuroroute.simulator.serving import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from aiohttp import web

    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.received import Received
    from neuroroute.simulator.sending import Sending

Surface: TypeAlias = Literal["v0", "v1", "greeting"]
Script: TypeAlias = "Callable[[Received], Answer | Fail | str | Awaitable[Answer | Fail | str]]"
Alter: TypeAlias = "Callable[[Received, Answer], Answer | Fail]"

_BAD_JSON = Fail(400, {"error": "Invalid JSON in the request body"})


class Simulator(LoopbackServer):
    """A real HTTP server on the loopback that behaves as LM Studio does.

    Every attribute may be changed while it runs; the next request sees it.

    Args:
        models: What is on its disk; None: one loaded model ``llama3``, one that is not loaded, one for embeddings.
        jit: Whether a model is loaded by the first request for it. Without, the listings but ``/api/v1`` show only
            loaded models.
        surfaces: The native APIs that it has; an older server has no ``v1``. Without one, its routes are unknown.
        api_token: The token that it requires; None: none.
        bad_json: What it answers to a body that is no JSON; nobody has established what the real server does.
        port: The port to listen on; 0: any free one.
        keepalive_timeout: Seconds after which it closes an idle connection.
    """

    def __init__(
        self,
        *,
        models: Sequence[SimulatedModel] | None = None,
        jit: bool = True,
        surfaces: Collection[Surface] = ("v0", "v1", "greeting"),
        api_token: str | None = None,
        bad_json: Fail = _BAD_JSON,
        port: int = 0,
        keepalive_timeout: float = 5.0,
    ) -> None:
        super().__init__(port=port, keepalive_timeout=keepalive_timeout)
        self.models = default_models() if models is None else list(models)
        self.jit = jit
        self.surfaces = surfaces
        self.api_token = api_token
        self.bad_json = bad_json
        self._queue: deque[Answer | Fail] = deque()
        self._failing: dict[str, deque[Fail]] = {}
        self._script: Script | None = None
        self._alter: Alter | None = None
        self._ids = itertools.count(1)

    # ── What to answer ──────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, answer: Answer | str = "", *, times: int = 1) -> None:
        """Queues an answer for the next chat request that the server has nothing against.

        Args:
            answer: The answer, or its text.
            times: For how many requests.
        """
        self._queue.extend([Answer(answer) if isinstance(answer, str) else answer] * times)

    def fail(self, failure: Fail | catalogue.ErrorCase, *, path: str | None = None, times: int = 1) -> None:
        """Queues a failure for the next chat request, whatever that asks.

        Args:
            failure: The failure, or a row of the catalogue.
            path: For the next request to this path instead, as in ``"/api/v1/models"``.
            times: For how many requests.
        """
        fail = Fail.of(failure) if isinstance(failure, catalogue.ErrorCase) else failure
        queue: deque[Any] = self._queue if path is None else self._failing.setdefault(path, deque())
        queue.extend([fail] * times)

    def script(self, script: Script | None) -> None:
        """Sets a function of the request, sync or async, that is asked whenever the queue is empty.

        Args:
            script: Returns an answer, its text, or a failure; None: back to the default, an echo.
        """
        self._script = script

    def alter(self, alter: Alter | None) -> None:
        """Sets a function of the request and its answer that is asked before an answer is sent.

        Args:
            alter: Returns the answer as it is to be sent, or a failure in its place; None: answers stay as they are.
        """
        self._alter = alter

    # ── Routes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        return await transmit(request, await self._respond(received))

    async def _respond(self, received: Received) -> Sending:
        if failing := self._failing.get(received.path):
            return of_fail(failing.popleft())
        if received.path == "/lmstudio-greeting" and "greeting" in self.surfaces:
            return of_json({"lmstudio": True})
        if refused := self._refused_token(received):
            return of_fail(Fail.of(refused))
        if (received.method, received.path) == ("POST", "/v1/chat/completions"):
            return await self._chat(received)
        listing = self._listing(received.path) if received.method == "GET" else None
        if listing is not None:
            return listing
        # an unknown route is a success to the real server too
        return of_json({"error": f"Unexpected endpoint or method. ({received.method} {received.path})"})

    def _refused_token(self, received: Received) -> catalogue.ErrorCase | None:
        if self.api_token is None:
            return None
        scheme, _, token = received.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return catalogue.TOKEN_MISSING
        return None if token == self.api_token else catalogue.malformed_token(token)

    def _listing(self, path: str) -> Sending | None:
        if path == "/v1/models":
            return of_json(list_openai(self.models, jit=self.jit))
        if path == "/api/v1/models" and "v1" in self.surfaces:
            return of_json(list_v1(self.models))
        if path == "/api/v0/models" and "v0" in self.surfaces:
            return of_json(list_v0(self.models, jit=self.jit))
        if path.startswith("/api/v0/models/") and "v0" in self.surfaces:
            asked = path.removeprefix("/api/v0/models/")
            entry = one_v0(self.models, asked, jit=self.jit)
            return of_json(entry) if entry else of_fail(Fail(404, {"error": f"Model with key '{asked}' not found"}))
        return None

    # ── Chat ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _chat(self, received: Received) -> Sending:
        scripted = self._queue[0] if self._queue else None
        if isinstance(scripted, Fail):
            self._queue.popleft()
            return of_fail(scripted)
        try:
            body = as_object(received.json)
        except ValueError:
            return of_fail(self.bad_json)
        found = self._find(body)
        if isinstance(found, catalogue.ErrorCase):
            return of_fail(Fail.of(found))
        said = await self._next_answer(received, body)
        if isinstance(said, Fail):
            return of_fail(said)
        completion = chat.Completion(
            said,
            body,
            id=said.id or f"chatcmpl-{next(self._ids)}",
            created=int(time.time()) if said.created is None else said.created,
            model=said.model or found,
        )
        streamed = body.get("stream") is True or said.raw_chunks is not None
        return chat.streamed(completion) if streamed else chat.whole(completion)

    def _find(self, body: Mapping[str, Any]) -> str | catalogue.ErrorCase:
        """The instance that answers, or why none does."""
        if refused := validation.refusal(body):
            return refused
        try:
            model, instance = resolve(self.models, str(body.get("model", "")), jit=self.jit)
        except Unresolved as unresolved:
            return unresolved.case
        return validation.refusal_by(model, body) or instance

    async def _next_answer(self, received: Received, body: Mapping[str, Any]) -> Answer | Fail:
        said = await self._said(received, _echo(body))
        if isinstance(said, str):
            said = Answer(said)
        return said if self._alter is None or isinstance(said, Fail) else self._alter(received, said)

    async def _said(self, received: Received, echo: str) -> Answer | Fail | str:
        """What is next in the queue, else what the script says, else an echo."""
        if self._queue:
            return self._queue.popleft()
        if self._script is None:
            return echo
        said = self._script(received)
        return await said if inspect.isawaitable(said) else said


def _echo(body: Mapping[str, Any]) -> str:
    asked = [chat.text_of(message) for message in body["messages"] if message["role"] == "user"]
    return f"You said: {asked[-1]}" if asked else "You said nothing."
