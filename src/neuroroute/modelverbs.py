"""The verbs of the adapter that are about models: what there is, what it can do, and getting it into memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from neuroroute.capabilities import Capability, detected
from neuroroute.details import DownloadedModel, LoadedModel, ModelDetails, ModelProgress
from neuroroute.errors import LMStudioError, ModelEmptyResponseError, ModelInvalidRequestError
from neuroroute.hostverbs import HostVerbs
from neuroroute.pipe.host import Host
from neuroroute.pipe.progress import told_safely
from neuroroute.rules import Check, integer, is_words, number
from neuroroute.selection import AUTO, choose, find, named
from neuroroute.streams import CompletionStream

_AVAILABLE_WITHIN_MS = 5000


class ModelVerbs(HostVerbs):
    """What an adapter can do with the models of its server."""

    async def list_models(self) -> list[ModelDetails]:
        """The models that the server has, from the listing that tells most.

        Raises:
            LMStudioError: the server cannot be reached, or gives no listing.
        """
        return await self._core.listing(self._defaults["timeout_ms"])

    async def find_model(self, name: str) -> ModelDetails:
        """The model that a person means: by its key in any case, a copy's id, or how one key alone begins.

        Requests take no such shortcuts: give them the ``key`` of what was found.

        Args:
            name: such as ``qwen3`` for ``qwen/qwen3-8b``; ``auto`` for whichever is loaded.

        Raises:
            ModelNotFoundError: no model is named so, or several; names them, or what is near.
            ModelUnavailableError: ``auto``, and none is loaded.
            LMStudioError: the server cannot be reached, or gives no listing.
        """
        models = await self.list_models()
        return self._chosen(models) if name == AUTO else find(models, name)

    async def get_details(self) -> ModelDetails:
        """What is known of this adapter's model: from the server, else from its id; ``source`` tells.

        Never raises for a server that is down, or does not have the model.
        """
        try:
            details = await self._details(None)
        except LMStudioError:
            details = None
        if details is not None:
            return details
        return ModelDetails(key=self._model_id, source="id", capabilities=detected(self._model_id))

    async def get_capabilities(self) -> frozenset[Capability]:
        """What this adapter's model can do: as :meth:`get_details` knows it."""
        return (await self.get_details()).capabilities

    async def context_length(self, model: str | None = None) -> int | None:
        """Tokens that fit: the context that the model was loaded with, else the most that it could have.

        Args:
            model: another model than this adapter's.

        Raises:
            LMStudioError: the server cannot be reached, or gives no listing.
        """
        details = await self._details(model)
        return None if details is None else details.context_length

    async def is_available(self) -> bool:
        """Whether the server is up and the model is there, loaded or loadable; ``auto``: whether one is loaded.

        Takes at most 5 seconds, never raises, is never retried; runs no completion and loads no model. A yes lets an
        open breaker probe with the next request.
        """
        try:
            async with asyncio.timeout(_AVAILABLE_WITHIN_MS / 1000):  # a configuration manager may hang, too
                available = self._of(await self._core.listing(_AVAILABLE_WITHIN_MS), self._model_id) is not None
        except (LMStudioError, TimeoutError):
            return False
        if available:
            for place in self._core.hosts.places(self._model_id):
                place.breaker.probe_soon()
        return available

    async def load_model(
        self,
        model: str | None = None,
        *,
        context_length: int | None = None,
        eval_batch_size: int | None = None,
        flash_attention: bool | None = None,
        num_experts: int | None = None,
        offload_kv_cache_to_gpu: bool | None = None,
        host: str | None = None,
        on_progress: Callable[[ModelProgress], object] | None = None,
        timeout_ms: float | None = None,
    ) -> LoadedModel:
        """Loads a model, unless a copy is in memory that was loaded so; needs LM Studio 0.4.0 or later.

        Whoever wants a model that is being loaded waits for that load. How it was really loaded is read from the
        server's listing; what is not as asked for is in ``notes``. LM Studio takes no ``ttl`` here: give it to
        requests, or to :meth:`warm_up`.

        Args:
            model: its key. Default: this adapter's.
            context_length: tokens. Default of this and the next: the server's choice.
            eval_batch_size: prompt tokens read at once.
            flash_attention: whether attention is computed the faster way.
            num_experts: how many experts of a mixture are used.
            offload_kv_cache_to_gpu: whether the cache of the conversation is kept on the GPU.
            host: which of several hosts is to load it, by its name. Default: one that has it loaded, else the one with
                the fewest models in memory of those that have it on disk.
            on_progress: is told when it begins and ends, in the event loop's thread; the server does not tell how far
                it is.
            timeout_ms: how long it may take. Default: ``model_loading_timeout_ms``, 120000.

        Raises:
            ModelInvalidRequestError: a value is wrong; nothing was sent.
            ModelNotFoundError: the server has no such model; names what is near.
            ModelTimeoutError: it took longer; the server goes on loading.
            ConfigurationError: the server cannot be told to load models.
            LMStudioError: it could not be loaded.
        """
        config = _checked(
            context_length=context_length,
            eval_batch_size=eval_batch_size,
            flash_attention=flash_attention,
            num_experts=num_experts,
            offload_kv_cache_to_gpu=offload_kv_cache_to_gpu,
        )
        limit, asked = self._load_limit(timeout_ms), self._named(model)
        return await self._core.load(asked, config, limit, on_progress, await self._one_host(host))

    async def unload_model(self, model: str | None = None, *, host: str | None = None) -> tuple[str, ...]:
        """Takes a model out of memory. The ids of its copies that were there; none where it was not loaded.

        Args:
            model: its key, for all its copies, or the id of one, as in ``llama3:2``. Default: this adapter's.
            host: out of the memory of which of several hosts, by its name. Default: of all that have it there.

        Raises:
            ModelNotFoundError: the server has no such model; names what is near.
            ConfigurationError: the server cannot be told to unload models.
            LMStudioError: it could not be unloaded.
        """
        asked = self._named(model)
        return await self._core.unload(asked, await self._one_host(host))

    async def download_model(
        self,
        model: str,
        *,
        quantization: str | None = None,
        host: str | None = None,
        on_progress: Callable[[ModelProgress], object] | None = None,
        timeout_ms: float | None = None,
    ) -> DownloadedModel:
        """Has the server download a model, and waits until it is there; needs LM Studio 0.4.0 or later.

        The server is asked once a second how far it is. Whoever stops waiting does not stop the download.

        Args:
            model: an id of LM Studio's catalogue, as in ``ibm/granite-4-micro``, or a link to Hugging Face.
            quantization: such as ``Q4_K_M``; only for links.
            host: which host is to download it, by its name; must be given where there are several.
            on_progress: is told how far it is, in the event loop's thread.
            timeout_ms: how long it may take. Default: as long as it moves; ten minutes of standing still end it.

        Raises:
            ModelInvalidRequestError: a value is wrong; nothing was sent.
            ModelTimeoutError: it took longer, or stood still.
            ModelUnavailableError: it failed.
            ConfigurationError: the server cannot be told to download models.
            LMStudioError: the server does not know the model.
        """
        _check("model", model, is_words, "the id of a model")
        if quantization is not None:
            _check("quantization", quantization, is_words, "a text such as 'Q4_K_M'")
        if timeout_ms is not None:
            _check("timeout_ms", timeout_ms, *_MILLISECONDS)
        named_host = await self._one_host(host)
        first, *others = self._core.hosts.all
        if named_host is None and others:
            names = ", ".join(one.name for one in self._core.hosts.all)
            raise ModelInvalidRequestError(f"host must say which one is to download it: {names}")
        return await self._core.download(named_host or first, model, quantization, timeout_ms, on_progress)

    async def warm_up(
        self,
        *,
        ttl: int | None = None,
        on_progress: Callable[[ModelProgress], object] | None = None,
        timeout_ms: float | None = None,
    ) -> ModelDetails:
        """Sees to it that this adapter's model is in memory, so that the first request need not wait for its load.

        Runs no completion, except where that is the only way to have it loaded (an LM Studio older than 0.4.0, another
        server, or with ``ttl``): then one of a single token.

        Args:
            ttl: seconds that it stays loaded when idle, if it is loaded now. Default: the adapter's.
            on_progress: is told when a load begins and ends.
            timeout_ms: how long that may take. Default: ``model_loading_timeout_ms``, 120000.

        Raises:
            ModelNotFoundError: the server has no such model; names what is near.
            LMStudioError: it could not be loaded.
        """
        limit = self._load_limit(timeout_ms)
        if ttl is not None:
            _check("ttl", ttl, integer(1), "a whole number of seconds of at least 1")
        ttl = ttl or self._defaults["ttl"]
        models = await self.list_models()
        details = self._of(models, self._model_id)
        if details is not None and details.loaded:
            return details
        if details is None and models and models[0].source != "openai":
            details = named(models, self._model_id)  # which tells what is near
        if details is not None and details.source == "v1" and ttl is None:
            await self._core.load(details.key, {}, limit, on_progress)
        else:
            tell = told_safely(on_progress)
            tell(ModelProgress(model=self._model_id, phase="loading"))
            given: dict[str, Any] = {"max_tokens": 1, "ttl": ttl, "timeout_ms": limit, "tools": None}
            given |= {"functions": None, "response_format": None, "messages": None, "strict_model": True}
            given |= {"api": "chat", "integrations": None, "context_length": None, "store": None}
            given["cache_mode"] = "off"
            request = self._request("warm_up", "Hi", given, {}, streaming=False)
            with suppress(ModelEmptyResponseError):  # of one token nothing may be left
                await CompletionStream(request, self._core.reply).whole()
            tell(ModelProgress(model=self._model_id, phase="loaded"))
        return await self.get_details()

    async def _details(self, model: str | None) -> ModelDetails | None:
        return self._of(await self.list_models(), model or self._model_id)

    def _of(self, models: list[ModelDetails], asked: str) -> ModelDetails | None:
        if asked == AUTO:
            return self._chosen(models)
        return next((model for model in models if model.answers_to(asked)), None)

    def _chosen(self, models: list[ModelDetails]) -> ModelDetails:
        return choose(models, self._defaults["needs"] or ()).model

    async def _one_host(self, name: str | None) -> Host | None:
        """The host of this name, once it is settled which there are."""
        await self._core.settings()
        return None if name is None else self._host(name)

    def _named(self, model: str | None) -> str:
        if model is not None:
            _check("model", model, is_words, "a model id")
        asked = model or self._model_id
        if asked == AUTO:
            raise ModelInvalidRequestError("'auto' is whichever model is loaded: name the one that you mean")
        return asked

    def _load_limit(self, timeout_ms: float | None) -> float:
        if timeout_ms is not None:
            _check("timeout_ms", timeout_ms, *_MILLISECONDS)
        limit: float = timeout_ms or self._defaults["model_loading_timeout_ms"]
        return limit


_MILLISECONDS = number(0, 1e12, open_low=True), "a number of milliseconds over 0"
_COUNT = integer(1), "a whole number of at least 1"
_FLAG: tuple[Check, str] = (lambda value: isinstance(value, bool)), "True or False"

_LOAD: dict[str, tuple[Check, str]] = {
    "context_length": _COUNT,
    "eval_batch_size": _COUNT,
    "flash_attention": _FLAG,
    "num_experts": _COUNT,
    "offload_kv_cache_to_gpu": _FLAG,
}


def _checked(**config: Any) -> Mapping[str, Any]:
    """How a model is to be loaded, as far as that was said.

    Raises:
        ModelInvalidRequestError: a value is wrong.
    """
    said = {name: value for name, value in config.items() if value is not None}
    for name, value in said.items():
        _check(name, value, *_LOAD[name])
    return said


def _check(name: str, value: Any, check: Check, right: str) -> None:
    if not check(value):
        raise ModelInvalidRequestError(f"{name} is {value!r:.60}; it must be {right}")
