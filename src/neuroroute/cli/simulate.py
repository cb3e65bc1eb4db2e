"""``neuroroute simulate``: an LM Studio without a model, which fails as it is told, with a line for each request."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from neuroroute.cli.blocks import printable
from neuroroute.cli.streams import consoles, write_json
from neuroroute.errors import ConfigurationError
from neuroroute.simulator import Answer, ChaosProxy, Fail, FaultPlan, Received, SimulatedModel, Simulator
from neuroroute.simulator.chat import text_of
from neuroroute.simulator.loosely import as_array, as_object

_LONGEST = 200
"""Characters of a prompt or an answer in a line for a person."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is simulated, and how it is told."""

    faults: FaultPlan
    port: int = 1234
    profile: str | None = None
    """The version of LM Studio; None: the newest that is known."""
    models: Sequence[str] = ()
    jit: bool = True
    token: str | None = None
    answer: str | None = None
    seed: int | None = None
    as_json: bool = False
    show_content: bool = False


def simulate(setting: Setting) -> None:
    """Runs it until Ctrl-C or SIGTERM.

    Raises:
        ConfigurationError: The port cannot be had, or the profile is unknown.
    """
    asyncio.run(_simulate(setting))


async def _simulate(setting: Setting) -> None:
    console, aside = consoles()
    # For machines, nothing but requests goes to stdout.
    teller = _Teller(setting, console, aside if setting.as_json else console)
    simulator = _simulator(setting)
    ended: asyncio.Queue[Received | None] = asyncio.Queue()
    simulator.on_end = ended.put_nowait
    simulator.alter(teller.watching(setting.faults.alter))
    with _until_told(lambda: ended.put_nowait(None)):
        async with _listening(simulator, setting) as server:
            teller.began(server.url, simulator)
            while received := await ended.get():
                teller.ended(received)
                simulator.requests.clear()  # it may run for days
        while not ended.empty():
            if received := ended.get_nowait():
                teller.ended(received)
    teller.summary(server)


@asynccontextmanager
async def _listening(simulator: Simulator, setting: Setting) -> AsyncGenerator[Simulator | ChaosProxy]:
    """What clients talk with while it runs: a proxy in front where the faults need one."""
    server: Simulator | ChaosProxy = simulator
    network = setting.faults.network
    simulator.port = 0 if network else setting.port
    async with AsyncExitStack() as running:
        try:
            await running.enter_async_context(simulator)
            if network:
                proxy = ChaosProxy(simulator.url, *network, seed=setting.seed, port=setting.port)
                server = await running.enter_async_context(proxy)
        except OSError as error:
            raise _no_port(setting.port, error) from error
        yield server


def _simulator(setting: Setting) -> Simulator:
    more: dict[str, Any] = {} if setting.profile is None else {"profile": setting.profile}
    if setting.models:
        more["models"] = [SimulatedModel(key, loaded=not number) for number, key in enumerate(setting.models)]
    try:
        simulator = Simulator(jit=setting.jit, api_token=setting.token, **more)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if setting.answer is not None:
        answer = setting.answer
        simulator.script(lambda _: answer)
    return simulator


def _no_port(port: int, error: OSError) -> ConfigurationError:
    another = port + 1 if port < 65535 else 1234
    return ConfigurationError(
        f"port {port} cannot be had: {os.strerror(error.errno) if error.errno else error}",
        hint=f"Is LM Studio running there? Name another with --port {another}, or let any free one be taken: --port 0.",
    )


@contextmanager
def _until_told(tell: Callable[[], object]) -> Generator[None]:
    """Calls it upon Ctrl-C and SIGTERM."""
    loop = asyncio.get_running_loop()

    def told(*_: object) -> None:
        loop.call_soon_threadsafe(tell)

    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ── What is told ────────────────────────────────────────────────────────────────────────────────────────────────────


class _Teller:
    """Tells of the server and of each request."""

    def __init__(self, setting: Setting, console: Console, aside: Console) -> None:
        self._setting = setting
        self._console = console
        self._aside = aside
        self._said: dict[Received, str] = {}
        self._outcomes: Counter[str] = Counter()

    def began(self, url: str, simulator: Simulator) -> None:
        """Tells where it is and what it is."""
        version = self._setting.profile or getattr(getattr(simulator, "profile", None), "name", "")
        faults = ", ".join(map(str, self._setting.faults.faults)) or "none"
        told = Text.assemble((url, "bold cyan"), "\n")
        told.append(f"A simulated LM Studio{f' {version}' if version else ''} with {_models(simulator)}.\n", "dim")
        told.append(f"Faults: {faults}. Ctrl-C stops it.", "dim")
        self._aside.print(told, soft_wrap=True)

    def watching(self, alter: Callable[[Received, Answer], Answer | Fail]) -> Callable[..., Answer | Fail]:
        """Keeps what is answered, where contents are shown."""

        def altered(received: Received, answer: Answer) -> Answer | Fail:
            if self._setting.show_content:
                self._said[received] = answer.text
            return alter(received, answer)

        return altered

    def ended(self, received: Received) -> None:
        """Tells of a request that has ended."""
        told = _told(received)
        self._outcomes[str(told["status"] or "no answer")] += 1
        shown = self._setting.show_content
        answer = self._said.pop(received, "")
        if self._setting.as_json:
            contents = {"request": received.body.decode("utf-8", "replace"), "answer": answer} if shown else {}
            write_json(self._console, told | contents)
            self._console.file.flush()
        else:
            contents = {"asked": _asked(received), "answer": answer} if shown else {}
            self._console.print(_line(told, contents), soft_wrap=True)

    def summary(self, server: Simulator | ChaosProxy) -> None:
        """Tells what there was."""
        count = self._outcomes.total()
        told = f"{count} request{'' if count == 1 else 's'}"
        if self._outcomes:
            told += ": " + ", ".join(f"{status} ({number})" for status, number in sorted(self._outcomes.items()))
        if isinstance(server, ChaosProxy):
            told += f"; {server.connections} connections"
            applied = {
                str(fault): server.applied[fault.network] for fault in self._setting.faults.faults if fault.network
            }
            told += "".join(f", {word} on {number}" for word, number in applied.items())
        self._aside.print(Text(f"{told}.", style="dim"), soft_wrap=True)


def _models(simulator: Simulator) -> str:
    return ", ".join(f"{model.key} ({'loaded' if model.loaded else 'not loaded'})" for model in simulator.models)


def _told(received: Received) -> dict[str, Any]:
    ended_at = received.ended_at or received.at
    began = time.time() - (time.monotonic() - received.at)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(began)) + f".{int(began % 1 * 1000):03d}",
        "method": received.method,
        "path": received.path,
        "model": _body(received).get("model"),
        "stream": _body(received).get("stream") is True,
        "status": received.status,
        "faults": list(received.faults),
        "client_left": received.closed_early,
        "ms": round((ended_at - received.at) * 1000, 1),
    }


def _body(received: Received) -> dict[str, Any]:
    try:
        body = received.json
    except ValueError:
        return {}
    return as_object(body)


def _line(told: dict[str, Any], contents: dict[str, str]) -> Text:
    status = told["status"]
    line = Text.assemble((told["time"][11:19], "dim"), " ", f"{told['method']:<4} {printable(told['path'])}")
    if isinstance(told["model"], str):
        line.append(f" {printable(told['model'])[:60]}", "cyan")
    line.append(" stream" if told["stream"] else "")
    line.append(f" {status or '---'}", "green" if status == 200 and not told["faults"] else "yellow")
    if told["faults"]:
        line.append(f" {', '.join(told['faults'])}", "yellow")
    if told["client_left"]:
        line.append(" the client left", "red")
    line.append(f" {told['ms']:.0f} ms", "dim")
    for name, content in contents.items():
        if content:
            line.append(f"\n         {name}: {_short(content)}", "dim")
    return line


def _asked(received: Received) -> str:
    """What was asked: the last message, else the whole body."""
    messages = as_array(_body(received).get("messages"))
    return text_of(as_object(messages[-1])) if messages else received.body.decode("utf-8", "replace")


def _short(text: str) -> str:
    text = " ".join(printable(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def list_faults(*, as_json: bool) -> None:
    """Prints every word for a fault, and what it means."""
    from neuroroute.simulator.vocabulary import WORDS

    console, _ = consoles()
    rows = [
        {"word": word.usage, "example": word.example, "kind": word.kind, "meaning": word.meaning}
        for word in WORDS.values()
    ]
    if as_json:
        write_json(console, rows)
        return
    if not console.is_terminal:
        console.file.write("".join(f"{row['word']}\t{row['meaning']}\n" for row in rows))
        return
    width = max(len(row["word"]) for row in rows)
    for row in rows:
        line = Text.assemble((row["word"].ljust(width), "bold"), "  ", (row["meaning"], "dim"))
        console.print(line, no_wrap=True, overflow="ellipsis")
    console.print("\nOf the requests: crash_null@10%, or crash_null@3 for the next three; without @, all.", style="dim")
