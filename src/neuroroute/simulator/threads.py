"""What lives in an ``async with`` block, in a plain ``with`` block: in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class WithOrAsyncWith:
    """Gives a plain ``with`` to a class that has ``__aenter__`` and ``__aexit__``."""

    _thread: threading.Thread | None = None
    _stop_thread: Callable[[], object] | None = None

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def live() -> None:
            async with self:
                stop = asyncio.Event()
                ready.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()

        def run() -> None:
            try:
                asyncio.run(live())
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)  # it belongs to who waits below

        self._thread = threading.Thread(target=run, name=type(self).__name__, daemon=True)
        self._thread.start()
        loop, stop = ready.result()
        self._stop_thread = lambda: loop.call_soon_threadsafe(stop.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stop_thread and self._thread:
            self._stop_thread()
            self._thread.join()
