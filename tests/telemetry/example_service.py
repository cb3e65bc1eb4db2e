"""examples/service, run as its docstring says, and asked all the time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

from neuroroute.simulator import Answer, Fail, Received, Simulator
from telemetry.prometheus_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "examples" / "service"
QUESTIONS = ("How warm is it in Oslo?", "Is 4111 1111 1111 1111 good?", "How warm is it in Rome?")
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def answer(request: Received) -> Answer | str:
    """Calls what it is offered, once as a call and once in its text; fails at times."""
    said = request.json["messages"][-1]
    if said["role"] == "tool" or "tools" not in request.json:
        return Answer(f"Here you are: {said['content']}", usage=USAGE)
    if "Oslo" in said["content"]:
        return Answer(tool_calls=[("get_weather", {"city": "Oslo"})], usage=USAGE)
    return Answer('<tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>', usage=USAGE)


@contextmanager
def example_service() -> Iterator[int]:
    """Runs it until the end of the block; the port that it listens on."""
    port, over = free_port(), threading.Event()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "--port", str(port), "app:app"]
    with Simulator() as lmstudio:
        lmstudio.script(answer)
        service = subprocess.Popen(
            command,
            env={**os.environ, "LMSTUDIO_URL": lmstudio.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        asking = threading.Thread(target=asked_until, args=(over, lmstudio, port))
        try:
            until = time.monotonic() + 20
            while not is_up(port):
                assert service.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            asking.start()
            yield port
        finally:
            over.set()
            if asking.ident is not None:
                asking.join()
            service.terminate()
            service.wait()


def is_up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics/", timeout=2):
            return True
    except OSError:
        return False


def asked_until(over: threading.Event, lmstudio: Simulator, port: int) -> None:
    """Asks everything, again and again, each answer once from the model; it crashes at times, and once for good."""
    for number in count():
        lmstudio.fail("crash_null")
        for question in QUESTIONS:
            for path in ("ask", "stream", "stream"):
                ask(port, path, f"{question} {number}")
        lmstudio.fail(Fail(400))
        ask(port, "ask", f"Fail {number}")
        if over.wait(0.02):
            return


def ask(port: int, path: str, question: str) -> None:
    with suppress(HTTPError), urlopen(f"http://127.0.0.1:{port}/{path}?question={quote(question)}") as reply:
        reply.read()
