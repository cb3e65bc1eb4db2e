"""``neuroroute engine -- COMMAND``: who gets which signal, and what the terminal is like afterwards."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")

WRAPPER = """
import asyncio, os, signal, sys
from neuroroute.cli import engine
engine._GRACE = 0.2
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
sys.exit(asyncio.run(engine._run({command!r}, os.environ["LMSTUDIO_URL"])))
"""


def around(*command: str) -> str:
    return WRAPPER.format(command=[sys.executable, *command])


def test_ctrl_c_is_the_commands_alone(on_terminal, lmstudio):
    """Ctrl-C stops an answer of the chat inside; the wrapper goes on with it, and ends as it ends."""
    from neuroroute.simulator import Answer

    lmstudio.answer(Answer("slow " * 200, delay_between=0.05))
    chat = on_terminal(script=around("-m", "neuroroute", "chat"))
    at = chat.wait_for("> ")
    chat.press("one\r")
    chat.wait_for("slow slow", at)
    chat.press("\x03")
    at = chat.wait_for("> ", chat.wait_for("Stopped.", at))
    lmstudio.answer(Answer("Still here", delay=0.5))  # longer than the time that one has who was told to end
    chat.press("two\r")
    at = chat.wait_for("> ", chat.wait_for("tokens in", chat.wait_for("Still here", at)))
    chat.press("\x04")
    assert chat.ended() == 0
    assert chat.echoes


def test_a_command_that_dies_of_ctrl_c_is_told_by_the_exit_code(on_terminal):
    """A command without a mind of its own ends by Ctrl-C, and its wrapper with 130."""
    started = on_terminal(
        script=around("-c", "import signal as s; s.signal(2, s.SIG_DFL); print('up', flush=True); s.pause()")
    )
    started.wait_for("up")
    started.press("\x03")
    assert started.ended() == 130


@pytest.mark.parametrize("hears", [True, False], ids=["ends by itself", "is killed"])
def test_sigterm_is_passed_on(on_terminal, hears):
    """SIGTERM reaches the command, which has a while to end; the terminal is as it was, whatever it did to it."""
    handler = "lambda *_: (print('bye', flush=True), sys.exit())" if hears else "signal.SIG_IGN"
    started = on_terminal(
        script=around(
            "-c",
            "import signal, sys, termios, time\n"
            "now = termios.tcgetattr(0); now[3] &= ~termios.ECHO; termios.tcsetattr(0, 0, now)\n"
            f"signal.signal(signal.SIGTERM, {handler})\n"
            "print('up', flush=True)\n"
            "time.sleep(30)",
        )
    )
    started.wait_for("up")
    assert not started.echoes
    started.terminate()
    assert started.ended() == 143
    assert ("bye" in started.screen()) is hears
    assert started.echoes
