"""The processes of a run: the server, and a worker for each contender."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from contenders import peers

HERE = Path(__file__).parent

_STEADY_HEAP = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
"""For glibc: else the luck of the heap's layout says whether each body of 200 KB is given back to the kernel and
faulted in again, which more than doubles ``hist`` for whoever is unlucky, the floor included."""


class Server(NamedTuple):
    """The server of this run."""

    base: str
    kind: str


def two_cores() -> tuple[int | None, int | None]:
    """A core for the server and one for the clients, where the system lets one choose."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[1], cores[0]) if len(cores) > 1 else (None, None)


@contextlib.contextmanager
def server(kind: str, core: int | None) -> Iterator[Server]:
    """Runs the stand-in for LM Studio; it ends when its standard input closes.

    Args:
        kind: ``python``, ``c``, or ``auto``: C, which is less noisy, where a compiler and its source are there.
        core: the core to stay on.
    """
    with tempfile.TemporaryDirectory() as folder:
        built = _built(Path(folder)) if kind != "python" else None
        if built is None and kind == "c":
            raise SystemExit("the C server needs a C compiler and the wider comparison (NEUROROUTE_PEERS)")
        command = [str(built)] if built else [sys.executable, str(HERE / "fake_server.py")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            port = process.stdout.readline().split()[1]
            yield Server(f"http://127.0.0.1:{port}/v1", "C" if built else "pure Python")
        finally:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()


def _built(folder: Path) -> Path | None:
    source = peers() / "server" / "fake_lmstudio.c"
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not source.exists():
        return None
    program = folder / "fake_lmstudio"
    done = subprocess.run([compiler, "-O2", "-o", str(program), str(source)], capture_output=True, check=False)
    return program if done.returncode == 0 else None


class Worker:
    """A contender in its own process, for the whole run."""

    def __init__(self, name: str, base: str, core: int | None) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name, base, "-" if core is None else str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **_STEADY_HEAP, "NO_PROXY": "127.0.0.1", "PYTHONHASHSEED": "0"},
        )
        self._answer()

    def ask(self, **command: Any) -> dict[str, Any]:
        """The answer to a command.

        Raises:
            ContenderError: it failed.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Lets it close its connections."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        if "error" in answer:
            raise ContenderError(f"{self.name}: {answer['error']}")
        return answer


class ContenderError(Exception):
    """A contender did not do what it was asked."""
