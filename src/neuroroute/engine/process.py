"""The subprocess in which llama.cpp runs: started, spoken to in one line each way, and ended without a trace.

A process of its own, because llama.cpp holds the interpreter's lock while it loads (an event loop would freeze for
seconds), and because its crash must not be ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neuroroute.errors import ModelTimeoutError, ModelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCRIPT: Final = Path(__file__).with_name("_child.py")
_LAST_LINES = 20
_GRACE = 2.0  # seconds between closing its stdin and killing it

# Ctrl-C in the terminal must reach us alone: we still want to speak with the engine, and then end it ourselves.
if sys.platform == "win32":
    _APART: Final[dict[str, Any]] = {
        "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW,
    }
else:
    _APART: Final[dict[str, Any]] = {"start_new_session": True}


def cores() -> int:
    """How many cores this process may use."""
    if sys.version_info >= (3, 13):
        count = os.process_cpu_count()
    elif sys.platform == "linux":
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count()
    return count or 1


class EngineProcess:
    """A running engine's process; made by ``launch``, which returns when its model is loaded."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._listening = asyncio.create_task(self._listen(process.stderr))
        self._stopping: asyncio.Task[None] | None = None
        self.address = ""

    @classmethod
    async def launch(cls, settings: Mapping[str, Any], timeout_ms: float) -> EngineProcess:
        """Starts the process and waits until it serves.

        Raises:
            ModelUnavailableError: llama.cpp did not start; the message holds the last lines it wrote.
            ModelTimeoutError: It was not ready in time.
        """
        pipe = asyncio.subprocess.PIPE
        engine = cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(_SCRIPT), stdin=pipe, stdout=pipe, stderr=pipe, **_APART
            )
        )
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                engine.address = await engine._greet(settings)
        except BaseException as error:
            engine._kill()  # while it loads, it would not notice that its stdin closed
            await engine.stop()
            if isinstance(error, TimeoutError):
                raise ModelTimeoutError(
                    f"The embedded engine was not ready after {timeout_ms:g} ms{engine._last_words()}",
                    hint="Allow more with start_timeout_ms.",
                ) from None
            raise
        return engine

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs."""
        return self._process.returncode

    async def stop(self) -> None:
        """Ends the process and waits for its end, also when the caller is cancelled meanwhile."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        try:
            await asyncio.shield(self._stopping)
        except asyncio.CancelledError:
            await asyncio.wait([self._stopping])
            raise

    async def _greet(self, settings: Mapping[str, Any]) -> str:
        with contextlib.suppress(ConnectionError):  # it died at once: its last words say more than a broken pipe
            self._stdin.write(json.dumps(settings).encode() + b"\n")
            await self._stdin.drain()
        line = await self._stdout.readline()
        answer: dict[str, str] = json.loads(line) if line else {}
        if "address" in answer:
            return answer["address"]
        exit_code = await self._process.wait()
        await self._listening
        reason = answer.get("error", f"its process ended with exit code {exit_code}").rstrip(".")
        raise ModelUnavailableError(
            f"The embedded engine did not start: {reason}{self._last_words()}",
            retryable=False,
            hint="Is it a whole GGUF file that llama.cpp can run, and is there memory for it?",
            model=settings["model_id"],
            details={"stderr": list(self._said), "model_path": settings["path"], "exit_code": exit_code},
        )

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        tail = b""
        # In blocks: readline() fails on a line longer than the reader's limit.
        while block := await stderr.read(1 << 16):
            *lines, tail = (tail + block).split(b"\n")
            self._said.extend(text for line in lines if (text := line.decode(errors="replace").strip()))
        if tail.strip():
            self._said.append(tail.decode(errors="replace").strip())

    def _last_words(self) -> str:
        return ". It said last:\n" + "\n".join(f"  {line}" for line in self._said) if self._said else ""

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _stop(self) -> None:
        self._stdin.close()
        try:
            async with asyncio.timeout(_GRACE):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()
        # Read to their ends, the pipes close by themselves and asyncio has nothing to warn of.
        await asyncio.gather(self._stdout.read(), self._listening)
