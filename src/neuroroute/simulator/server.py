"""The simulated LM Studio: its settings and its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuroroute.simulator import downloads, forms, native, wordings
from neuroroute.simulator.answers import Fail, Refused
from neuroroute.simulator.listings import list_openai, list_v0, list_v1, one_v0
from neuroroute.simulator.models import default_models
from neuroroute.simulator.nativechat import NativeChat
from neuroroute.simulator.profiles import Profile, profile_named
from neuroroute.simulator.sending import Outgoing, of_fail, of_json
from neuroroute.simulator.unknowns import Unknowns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from aiohttp import web

    from neuroroute.simulator.forms import Form
    from neuroroute.simulator.models import SimulatedModel
    from neuroroute.simulator.profiles import Surface
    from neuroroute.simulator.received import Received
    from neuroroute.simulator.sending import Sending

_NATIVE = ("/api/v1/chat", "/api/v1/models/load", "/api/v1/models/unload")


class Simulator(NativeChat):
    """A real HTTP server on the loopback that behaves as LM Studio does.

    Every attribute may be changed while it runs; the next request sees it.

    Args:
        models: What is on its disk; None: one loaded model ``llama3``, one that is not loaded, one for embeddings.
        profile: The version of LM Studio that it is: a name of ``PROFILES``, or a profile.
        unknowns: What it does where nobody has established what the real server does.
        jit: Whether a model is loaded by the first request for it. Without, the listings but ``/api/v1`` show only
            loaded models.
        auto_evict: Whether a model that is loaded on request takes the place of the one that was loaded so before;
            None: as the profile has it.
        surfaces: The native APIs that it has; without one, its routes are unknown. None: as the profile has them.
        api_token: The token that it requires; None: none.
        port: The port to listen on; 0: any free one.
        keepalive_timeout: Seconds after which it closes an idle connection.

    Raises:
        ValueError: There is no profile of that name.
    """

    def __init__(
        self,
        *,
        models: Sequence[SimulatedModel] | None = None,
        profile: str | Profile = "0.4.25",
        unknowns: Unknowns | None = None,
        jit: bool = True,
        auto_evict: bool | None = None,
        surfaces: Collection[Surface] | None = None,
        api_token: str | None = None,
        port: int = 0,
        keepalive_timeout: float = 5.0,
    ) -> None:
        super().__init__(port=port, keepalive_timeout=keepalive_timeout)
        self.profile = profile_named(profile) if isinstance(profile, str) else profile
        self.models = default_models() if models is None else list(models)
        self.unknowns = Unknowns() if unknowns is None else unknowns
        self.jit = jit
        self.auto_evict = self.profile.auto_evict if auto_evict is None else auto_evict
        self.surfaces = self.profile.surfaces if surfaces is None else surfaces
        self.api_token = api_token
        self.downloads = downloads.Downloads()
        self._said: dict[str, Sequence[dict[str, Any]]] = {}
        self._responses = forms.responses_form(self._said)

    def forget(self, response_id: str) -> None:
        """Lets a stored response expire, of ``/v1/responses`` or of the native chat: it cannot be continued any more.

        Raises:
            ValueError: No such response is stored.
        """
        for stored in (self._said, self._chats):
            if response_id in stored:
                del stored[response_id]
                return
        msg = f"no response {response_id!r} is stored; there are {', '.join([*self._said, *self._chats]) or 'none'}"
        raise ValueError(msg)

    # ── Routes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        outgoing = Outgoing(request)
        sending = self._at_once(received)
        if sending is not None:
            return await outgoing.send(sending)
        try:
            if received.method == "POST" and (form := self._form(received.path)):
                return await self._predict(received, outgoing, form)
            if received.method == "POST" and self._embeds(received.path):
                return await self._embed(received, outgoing)
            if received.method == "POST" and received.path in _NATIVE and "v1" in self.surfaces:
                return await self._native(received, outgoing)
            if received.path.startswith(downloads.PATH) and "v1" in self.surfaces:
                return await outgoing.send(of_json(self.downloads.answer(received, self._body, self.models)))
        except Refused as refused:
            return await outgoing.break_off(refused.fail, b"")
        # an unknown route is a success to the real server too
        unknown = f"Unexpected endpoint or method. ({received.method} {received.path})"
        return await outgoing.send(of_json({"error": unknown}))

    def _form(self, path: str) -> Form | None:
        """How a route that asks for text words it; None: it is another, or this server lacks it."""
        if path == "/v1/responses" and self.profile.responses:
            return self._responses
        return forms.OPENAI.get(path) or (forms.V0.get(path) if "v0" in self.surfaces else None)

    def _embeds(self, path: str) -> bool:
        return path == "/v1/embeddings" or (path == "/api/v0/embeddings" and "v0" in self.surfaces)

    async def _native(self, received: Received, outgoing: Outgoing) -> web.StreamResponse:
        try:
            if received.path == "/api/v1/chat":
                if failure := self._next_shared_failure(received.path):
                    return await outgoing.send(of_fail(failure))
                return await self._native_chat(received, self._body(received), outgoing)
            body = self._body(received)
            if received.path == "/api/v1/models/load":
                return await outgoing.send(of_json(await native.load(body, self.models, self._lifecycle)))
            return await outgoing.send(of_json(native.unload(body, self.models, self._lifecycle)))
        except Refused as refused:
            raise Refused(native.as_native(refused.case)) from None

    def _at_once(self, received: Received) -> Sending | None:
        """What needs no model: scripted failures, the greeting, a token that is refused, listings."""
        if failing := self._next_failure(received.path):
            return of_fail(failing)
        if received.path == "/lmstudio-greeting" and "greeting" in self.surfaces:
            return of_json({"lmstudio": True})
        if refused := self._refused_token(received):
            return of_fail(Fail.of(refused))
        return self._listing(received.path) if received.method == "GET" else None

    def _refused_token(self, received: Received) -> wordings.ErrorCase | None:
        if self.api_token is None:
            return None
        scheme, _, token = received.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return wordings.TOKEN_MISSING
        return None if token == self.api_token else wordings.malformed_token(token)

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
