"""``neuroroute engine``: the embedded engine by itself, or around a command."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.text import Text

from neuroroute.cli.opening import origin
from neuroroute.cli.progress import EngineProgress
from neuroroute.cli.streams import as_it_was, consoles
from neuroroute.engine import EmbeddedEngine
from neuroroute.errors import ConfigurationError

_GRACE = 5.0  # seconds that a command which was told to end has for it


def engine(command: Sequence[str], **options: Any) -> int:
    """Runs the engine until Ctrl-C, or as long as the command runs.

    Args:
        command: run with ``LMSTUDIO_URL`` leading to the engine.
        **options: of :class:`~neuroroute.engine.EmbeddedEngine`.

    Returns:
        The command's exit code.

    Raises:
        LMStudioError: the engine does not start, or the command cannot be run.
    """
    return asyncio.run(_serve(_program(command), **options))


async def _serve(command: Sequence[str], **options: Any) -> int:
    console, aside = consoles()
    with EngineProgress(aside) as progress:
        embedded = EmbeddedEngine(on_progress=progress, **options)
        await embedded.start()
    try:
        if command:
            return await _run(command, embedded.url)
        console.file.write(embedded.url + "\n")
        console.file.flush()
        aside.print(Text(f"{embedded.model_id} answers there{origin(embedded)}. Ctrl-C stops it.", style="dim"))
        await asyncio.Event().wait()
    finally:
        await embedded.aclose()
    return 0


def _program(command: Sequence[str]) -> list[str]:
    if not command:
        return []
    found = shutil.which(command[0])  # Windows starts no npm.cmd by the name of npm
    if found is None:
        raise ConfigurationError(f"there is no program {command[0]!r} to run")
    return [found, *command[1:]]


async def _run(command: Sequence[str], url: str) -> int:
    with _deaf_to_ctrl_c(), as_it_was(0):
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "LMSTUDIO_URL": url})
        try:
            return await _ended(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Waits for the command's end; SIGTERM and SIGHUP are passed on to it, and then it has a while and no longer."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()
    ending = asyncio.ensure_future(process.wait())
    with _told(loop, told):
        await asyncio.wait([ending, told], return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            with suppress(ProcessLookupError):
                process.send_signal(told.result())
            await asyncio.wait([ending], timeout=_GRACE)
            if not ending.done():
                process.kill()
            await ending
            return 128 + told.result()
    code = ending.result()
    return code if code >= 0 else 128 - code


@contextmanager
def _told(loop: asyncio.AbstractEventLoop, told: asyncio.Future[int]) -> Generator[None]:
    """The future's result is the signal that tells us to end; Windows has none."""
    if sys.platform == "win32":
        yield
        return

    def tell(number: int) -> None:
        if not told.done():
            told.set_result(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # as of nohup
    for number in before:
        loop.add_signal_handler(number, tell, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextmanager
def _deaf_to_ctrl_c() -> Generator[None]:
    """Ctrl-C is the command's alone, which got it as well as we did, and may mean to go on."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _nothing)  # not SIG_IGN, which the command would inherit
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _nothing(*_: object) -> None: ...
