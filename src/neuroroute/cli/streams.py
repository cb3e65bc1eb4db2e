"""stdin, stdout and stderr as they really are: consoles, piped text, and code pages that cannot say everything."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from io import TextIOWrapper

from rich.console import Console

_UNBROKEN = 1000


def prepare() -> None:
    """Makes every text writable: no character may end the program, whatever the code page is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            if sys.platform == "win32" and not stream.isatty() and "PYTHONIOENCODING" not in os.environ:
                stream.reconfigure(encoding="utf-8")
            stream.reconfigure(errors="replace")


def consoles(*, quiet: bool = False) -> tuple[Console, Console]:
    """stdout, and stderr for remarks.

    Args:
        quiet: nothing is remarked, for output that machines read.
    """
    return _console(), _console(stderr=True, quiet=quiet)


def _console(*, stderr: bool = False, quiet: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    # Lines are broken for persons only.
    return Console(stderr=stderr, quiet=quiet, highlight=False, width=None if stream.isatty() else _UNBROKEN)


def piped_text() -> str:
    """Everything on stdin, as text; a byte order mark is taken off."""
    return sys.stdin.buffer.read().decode("utf-8-sig", "replace") if sys.stdin else ""


def stdin_is_piped() -> bool:
    """Whether stdin is a file or a pipe rather than a person."""
    return bool(sys.stdin) and not sys.stdin.isatty()


@contextmanager
def unechoed(terminal: int) -> Generator[None]:
    """Keys pressed meanwhile, Ctrl-C among them, are not written into what is drawn.

    Args:
        terminal: its file descriptor.
    """
    # A program in the background would be stopped for touching the terminal.
    if sys.platform != "win32" and os.tcgetpgrp(terminal) == os.getpgrp():
        import termios

        before = termios.tcgetattr(terminal)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
        try:
            yield
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    else:
        yield


def is_broken_pipe(error: OSError) -> bool:
    """Whether the reader of our output has left; Windows says so in its own way."""
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)


def write_no_more() -> None:
    """Sends what is still to be flushed to nowhere, so that the interpreter's end is silent too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
