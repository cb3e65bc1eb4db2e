"""Runs the program as its users do: in a process of its own, piped or on a terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from neuroroute.cli.program import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from click.testing import Result

    from neuroroute.simulator import Simulator

PROGRAM = [sys.executable, "-m", "neuroroute"]


@pytest.fixture
def environment(lmstudio: Simulator, tmp_path: Path) -> dict[str, str]:
    """What the program finds: the simulated LM Studio, and a home of its own."""
    ours = {
        name: value for name, value in os.environ.items() if name not in {"LM_API_TOKEN", "NO_COLOR", "FORCE_COLOR"}
    }
    return {
        **ours,
        "LMSTUDIO_URL": lmstudio.url,
        "XDG_DATA_HOME": str(tmp_path),
        "TERM": "xterm-256color",
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "PYTHONUTF8": "1",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program piped: ``run("ask", "Hello", piped="a text")``."""

    def run(*arguments: str, piped: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            input=piped,
            env=environment | more,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def run_here(environment: dict[str, str]) -> Callable[..., Result]:
    """Runs the program in this process, which takes a tenth of the time."""

    def run(*arguments: str, piped: str = "") -> Result:
        return CliRunner(env=environment).invoke(program, arguments, input=piped)

    return run


@pytest.fixture
def on_terminal(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Starts the program, a script of Python, or another command, on a terminal of 24 lines."""
    opened: list[Terminal] = []

    def start(*arguments: str, script: str = "", command: Sequence[str] = (), **more: str) -> Terminal:
        started = [sys.executable, "-c", script] if script else [*command] or [*PROGRAM, *arguments]
        opened.append(Terminal(started, environment | more))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


class Terminal:
    """A pseudo-terminal with a program on it; ``screen`` is what a person would see, scrolled-away lines included."""

    LINES, COLUMNS = 24, 80

    # As a session of its own, with this terminal as the one whose Ctrl-C reaches it.
    _TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", self.LINES, self.COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._TAKE, *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._bytes = b""

    @property
    def written(self) -> str:
        return self._bytes.decode("utf-8", "replace")

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str, after: int = 0, timeout: float = 8.0) -> int:
        """Waits until the text was written after that place; returns the place behind it."""
        deadline = time.monotonic() + timeout
        while (found := self._plain().find(text, after)) < 0:
            assert time.monotonic() < deadline, f"{text!r} never came; the screen:\n{self.screen()}"
            self._read()
        return found + len(text)

    def ended(self, timeout: float = 8.0) -> int:
        """Waits for the program's end; returns its exit code."""
        deadline = time.monotonic() + timeout
        while self._process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end; the screen:\n{self.screen()}"
            self._read()
        while self._read():
            pass
        return self._process.returncode

    def screen(self) -> str:
        """What stands there: carriage returns, cursor up and erased lines obeyed, within the 24 lines one can see."""
        lines, row, column = [""], 0, 0
        for code, final, character in re.findall(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b.|([\s\S])", self.written):
            if final == "A":
                row = max(row - int(code or 1), len(lines) - self.LINES, 0)
            elif final == "K":
                lines[row] = "" if code == "2" else lines[row][:column]
            elif character == "\r":
                column = 0
            elif character == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif character:
                lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
                column += 1
        return "\n".join(line.rstrip() for line in lines)

    def terminate(self) -> None:
        self._process.terminate()

    @property
    def echoes(self) -> bool:
        """Whether what is typed can be seen, as in every shell."""
        import termios

        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._ours)

    def _plain(self) -> str:
        return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", self.written)

    def _read(self) -> bool:
        try:
            self._bytes += os.read(self._ours, 1 << 16)
        except OSError:  # there is nothing to read yet; or the program has left its terminal
            time.sleep(0.01)
            return False
        return True
