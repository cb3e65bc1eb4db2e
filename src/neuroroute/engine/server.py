"""EmbeddedEngine: the engine as its users see it."""

from __future__ import annotations

import asyncio
import importlib.resources
import threading
from typing import TYPE_CHECKING, Any

from neuroroute.closing import AsyncClosing
from neuroroute.engine.models import ModelFile, model_file, require_extra
from neuroroute.engine.process import EngineProcess, cores
from neuroroute.engine.progress import OnProgress, Progress
from neuroroute.engine.wheels import PACKAGED
from neuroroute.errors import ConfigurationError
from neuroroute.jsontypes import is_number

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


class EmbeddedEngine(AsyncClosing):
    """A real llama.cpp with a small real model, in a process of its own, speaking the OpenAI-compatible API.

    ::

        async with EmbeddedEngine() as engine, LMStudioAdapter(engine.model_id, base_url=engine.url) as adapter:
            ...

    Args:
        model_path: A GGUF file; default: see ``model_file``.
        model_id: The id to serve the model under; default: ``"qwen2.5-coder-0.5b-instruct"``, or another file's name.
        context_length: Tokens, which requests that run at the same time share.
        parallel: How many requests run at the same time; more wait in the engine.
        api_token: Requests must carry it as a Bearer token.
        on_progress: Called on the event loop while the model is downloaded (once, 491 MB) and loaded; what it raises
            ends the start.
        start_timeout_ms: Milliseconds that loading may take; a download has all the time it needs.

    It can be started again after it was closed or has died. All its calls belong to one event loop.
    """

    def __init__(
        self,
        *,
        model_path: str | Path | None = None,
        model_id: str | None = None,
        context_length: int = 8192,
        parallel: int = 2,
        api_token: str | None = None,
        on_progress: OnProgress | None = None,
        start_timeout_ms: float = 120_000,
    ) -> None:
        for name, count in (("context_length", context_length), ("parallel", parallel)):
            if type(count) is not int or count <= 0:
                raise ConfigurationError(f"{name} should be a whole number of more than 0, not {count!r:.60}")
        if not is_number(start_timeout_ms) or not 0 < start_timeout_ms <= 1e12:
            raise ConfigurationError(
                f"start_timeout_ms should be milliseconds of more than 0, not {start_timeout_ms!r:.60}"
            )
        self._model_path = model_path
        self._wanted_id = model_id
        self._context_length = context_length
        self._parallel = parallel
        self._api_token = api_token
        self._on_progress = on_progress
        self._start_timeout_ms = start_timeout_ms
        self._one_at_a_time = asyncio.Lock()
        self._state = "not started"
        self._model: ModelFile | None = None
        self._process: EngineProcess | None = None

    @property
    def url(self) -> str:
        """The base URL of its API, such as ``http://127.0.0.1:PORT/v1``.

        Raises:
            ConfigurationError: The engine is not running.
        """
        if self._process is None:
            raise ConfigurationError(f"The embedded engine has no address: {self!r}", hint="Start it first.")
        return f"{self._process.address}/v1"

    @property
    def model_id(self) -> str:
        """The id that the model is served under; settled when the engine has started."""
        return self._wanted_id or (self._model.model_id if self._model else PACKAGED.model_id)

    @property
    def model(self) -> ModelFile | None:
        """The model's file and where it came from, once it is known."""
        return self._model

    async def start(self) -> None:
        """Finds or downloads the model and serves it; does nothing if it already does.

        Raises:
            ConfigurationError: The extra ``embedded`` is not installed, or there is no model.
            ModelUnavailableError: llama.cpp did not start; the message holds the last lines it wrote.
            ModelTimeoutError: Loading took longer than ``start_timeout_ms``.
        """
        async with self._one_at_a_time:
            if self._process is not None:
                if self._process.exit_code is None:
                    return
                await self._end()
            self._state = "starting"
            try:
                require_extra("xllamacpp", "platformdirs")
                self._model = await self._obtain_model()
                size = self._model.path.stat().st_size
                self._tell(Progress("load", 0, size))
                self._process = await EngineProcess.launch(self._settings(self._model), self._start_timeout_ms)
                self._tell(Progress("load", size, size))
            except BaseException:
                await self._end()
                self._state = "failed to start"
                raise

    async def aclose(self) -> None:
        """Ends the engine and waits for its end (at most 2 s if it is idle); does nothing if it does not run."""
        async with self._one_at_a_time:
            await self._end()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    def __repr__(self) -> str:
        process = self._process
        if process is None:
            return f"<EmbeddedEngine {self._state}>"
        if process.exit_code is not None:
            return f"<EmbeddedEngine died with exit code {process.exit_code}, was pid {process.pid}>"
        return f"<EmbeddedEngine ready at {process.address}/v1 pid {process.pid}>"

    async def _end(self) -> None:
        if self._process is not None:
            try:
                await self._process.stop()
            finally:
                self._process, self._state = None, "closed"

    async def _obtain_model(self) -> ModelFile:
        loop, abandoned = asyncio.get_running_loop(), threading.Event()
        raised: list[Exception] = []

        def tell(step: Progress) -> None:
            if abandoned.is_set():
                return
            try:
                self._tell(step)
            except Exception as error:  # noqa: BLE001 - raised below; here it would end with the loop's exception handler
                raised.append(error)
                abandoned.set()

        def progress(step: Progress) -> None:
            # Called in the thread: raising is how a download is ended.
            if abandoned.is_set():
                raise asyncio.CancelledError
            loop.call_soon_threadsafe(tell, step)

        work = asyncio.ensure_future(asyncio.to_thread(model_file, self._model_path, progress))
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            abandoned.set()
            await asyncio.wait([work])
            raise
        if raised:
            raise raised[0]
        return work.result()

    def _tell(self, step: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(step)

    def _settings(self, model: ModelFile) -> dict[str, Any]:
        template = importlib.resources.files("neuroroute.engine").joinpath("chat_template.jinja")
        return {
            "path": str(model.path),
            "model_id": self.model_id,
            "context_length": self._context_length,
            "parallel": self._parallel,
            "cores": cores(),
            "api_keys": [self._api_token] if self._api_token else [],
            "chat_template": template.read_text(encoding="utf-8") if model.packaged else None,
        }
