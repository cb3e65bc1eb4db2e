"""stdin, stdout and stderr as they really are: consoles, piped text, and code pages that cannot say everything."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any

from rich.console import Console

from neuroroute.errors import ModelInvalidRequestError

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
    """Everything on stdin, as text; a byte order mark is taken off.

    Raises:
        ModelInvalidRequestError: it is no text.
    """
    return as_text(sys.stdin.buffer.read())


def piped_line() -> str:
    """The next line of stdin, its line feed included; nothing at the end of all.

    Raises:
        ModelInvalidRequestError: it is no text.
    """
    return as_text(sys.stdin.buffer.readline()).replace("\r\n", "\n")


def as_text(given: bytes) -> str:
    """What was put in as bytes, whatever the code page is.

    Raises:
        ModelInvalidRequestError: the bytes are no UTF-8 text.
    """
    if b"\0" in given:
        raise ModelInvalidRequestError("your input has NUL bytes", hint="Is this a text file?")
    try:
        return given.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text() from error


def refuse_surrogates(text: str) -> None:
    """Refuses an argument whose bytes were not UTF-8; Python hides them in surrogates.

    Raises:
        ModelInvalidRequestError: they were not.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _not_text() from error


def _not_text() -> ModelInvalidRequestError:
    return ModelInvalidRequestError("your input is not UTF-8 text", hint="Convert it, as in: iconv -f LATIN1 -t UTF-8")


def write_json(console: Console, value: Any) -> None:
    """Writes a value on a line of its own."""
    import msgspec

    console.file.write(msgspec.json.encode(value).decode() + "\n")


def stdin_is_piped() -> bool:
    """Whether stdin is a file or a pipe rather than a person."""
    return not sys.stdin.isatty()


@contextmanager
def as_it_was(terminal: int) -> Generator[None]:
    """Puts a terminal back as it was, whatever is done to it meanwhile; no terminal is left alone.

    Args:
        terminal: its file descriptor.
    """
    if sys.platform == "win32" or not _is_ours(terminal):
        yield
        return
    import termios

    before = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        if _is_ours(terminal):
            with suppress(termios.error):  # it was closed
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextmanager
def unechoed(terminal: int) -> Generator[None]:
    """Keys pressed meanwhile, Ctrl-C among them, are not written into what is drawn.

    Args:
        terminal: its file descriptor.
    """
    with as_it_was(terminal):
        if sys.platform != "win32" and _is_ours(terminal):
            import termios

            now = termios.tcgetattr(terminal)
            termios.tcsetattr(terminal, termios.TCSADRAIN, [*now[:3], now[3] & ~termios.ECHO, *now[4:]])
        yield


def _is_ours(terminal: int) -> bool:
    """Whether it is a terminal with us in its foreground; in the background we would be stopped for touching it."""
    if sys.platform == "win32":
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


def is_broken_pipe(error: OSError) -> bool:
    """Whether the reader of our output has left; Windows says so in its own way."""
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)


def write_no_more() -> None:
    """Sends what cannot be flushed to nowhere, so that the interpreter's end is silent too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
