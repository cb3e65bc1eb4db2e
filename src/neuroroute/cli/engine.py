"""``neuroroute engine``: the embedded engine by itself, or around a command."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from neuroroute.cli.opening import origin
from neuroroute.cli.progress import EngineProgress
from neuroroute.cli.streams import consoles
from neuroroute.engine import EmbeddedEngine
from neuroroute.errors import ConfigurationError

_GRACE = 5.0  # seconds that an interrupted command has to end by itself


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
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "LMSTUDIO_URL": url})
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        # Ctrl-C reached the command too: it ends in its own way, while the engine still answers it.
        try:
            async with asyncio.timeout(_GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        raise
    return code if code >= 0 else 128 - code
