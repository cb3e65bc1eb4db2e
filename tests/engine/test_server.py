"""The embedded engine, real: llama.cpp with the real model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from neuroroute.engine import EmbeddedEngine, Progress, models, server
from neuroroute.errors import ConfigurationError, ModelTimeoutError, ModelUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.engine

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def body(engine: EmbeddedEngine, **fields: Any) -> dict[str, Any]:
    plain = {"model": engine.model_id, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    return plain | {"temperature": 0, "cache_prompt": False} | fields


async def ask(http: aiohttp.ClientSession, engine: EmbeddedEngine, **fields: Any) -> dict[str, Any]:
    async with http.post(f"{engine.url}/chat/completions", json=body(engine, **fields)) as response:
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def prompt(http: aiohttp.ClientSession, engine: EmbeddedEngine, **fields: Any) -> str:
    address = engine.url.removesuffix("/v1")
    async with http.post(f"{address}/apply-template", json=fields) as response:
        assert response.status == 200, await response.text()
        text: str = (await response.json())["prompt"]
        return text


def pid_of(engine: EmbeddedEngine) -> int:
    return int(repr(engine).rpartition("pid ")[2].rstrip(">"))


def runs(pid: int) -> bool:
    # An orphan is a zombie until init gets to it, which may take a while in a container.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False).stdout.strip()
    return state != b"" and not state.startswith(b"Z")


async def gone(pid: int, within: float = 1.0) -> bool:
    """Whether the process ends in so many seconds."""
    end = time.monotonic() + within
    while alive := runs(pid):
        if time.monotonic() > end:
            break
        await asyncio.sleep(0.02)
    return not alive


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """Every process that was started."""
    processes: list[asyncio.subprocess.Process] = []
    real = asyncio.create_subprocess_exec

    async def spy(*args: Any, **kwargs: Any) -> asyncio.subprocess.Process:
        processes.append(await real(*args, **kwargs))
        return processes[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)
    return processes


# Answers


async def test_completion(engine: EmbeddedEngine, http: aiohttp.ClientSession) -> None:
    """It answers as LM Studio does: a choice with text, and the tokens it took."""
    answer = await ask(http, engine)
    assert answer["model"] == engine.model_id == "qwen2.5-coder-0.5b-instruct"
    assert answer["choices"][0]["message"]["content"]
    assert 0 < answer["usage"]["completion_tokens"] <= 8


async def test_stream(engine: EmbeddedEngine, http: aiohttp.ClientSession) -> None:
    """A stream brings text in several events and ends with [DONE]."""
    async with http.post(f"{engine.url}/chat/completions", json=body(engine, stream=True)) as response:
        assert response.content_type == "text/event-stream"
        events = [line[6:].strip() async for line in response.content if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    deltas = [choice["delta"] for event in events[:-1] for choice in json.loads(event)["choices"]]
    assert len([delta for delta in deltas if delta.get("content")]) > 1


async def test_forced_tool_call(engine: EmbeddedEngine, http: aiohttp.ClientSession) -> None:
    """A required call comes as a call, with arguments that are JSON."""
    answer = await ask(http, engine, messages=[QUESTION], tools=[WEATHER], tool_choice="required", max_tokens=64)
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    [call] = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"city"}


async def test_tool_round(engine: EmbeddedEngine, http: aiohttp.ClientSession) -> None:
    """Free to choose, the model calls the function, and told the result it answers in words."""
    answer = await ask(http, engine, messages=[QUESTION], tools=[WEATHER], max_tokens=64)
    message = answer["choices"][0]["message"]
    [call] = message["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny, 22 degrees"}
    answer = await ask(http, engine, messages=[QUESTION, message, result], tools=[WEATHER], max_tokens=64)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["choices"][0]["message"]["content"]


async def test_chat_template(engine: EmbeddedEngine, http: aiohttp.ClientSession) -> None:
    """The prompt is the measured one to the letter; null content, parts and arguments as a string are taken."""
    call = {"type": "function", "id": "1", "function": {"name": "get_weather", "arguments": '{"city": "K\\u00f6ln"}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "Sunny"},
    ]
    assert await prompt(http, engine, messages=messages, tools=[WEATHER]) == (
        "<|im_start|>system\nBe brief.\n\n# Tools\n\nYou can call these functions:\n"
        f"{json.dumps(WEATHER['function'])}\n\nTo call one, reply only with:\n"
        '[TOOL_REQUEST]{"name": "FUNCTION", "arguments": {...}}[END_TOOL_REQUEST]<|im_end|>\n'
        "<|im_start|>user\nWeather?<|im_end|>\n"
        '<|im_start|>assistant\n[TOOL_REQUEST]{"name": "get_weather", "arguments": {"city": "Köln"}}'
        "[END_TOOL_REQUEST]<|im_end|>\n"
        "<|im_start|>user\nResult of the function: Sunny\n"
        "Now answer my question in plain words, in one short sentence. No function call.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


async def test_chat_template_without_system_and_tools(engine: EmbeddedEngine, http: aiohttp.ClientSession) -> None:
    """A history without a system message gets the usual one, and without tools nothing is said of them."""
    assert await prompt(http, engine, messages=[{"role": "user", "content": "Hi"}]) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


# Life and death


async def test_life(http: aiohttp.ClientSession, spawned: list[asyncio.subprocess.Process]) -> None:
    """It tells its state at every step, loads with progress, asks for its token, and leaves no process and no port."""
    steps: list[Progress] = []
    engine = EmbeddedEngine(parallel=1, api_token="secret", on_progress=steps.append)
    assert repr(engine) == "<EmbeddedEngine not started>"
    with pytest.raises(ConfigurationError, match="not started"):
        _ = engine.url
    async with engine:
        pid, url = pid_of(engine), engine.url
        assert repr(engine) == f"<EmbeddedEngine ready at {url} pid {pid}>"
        await engine.start()
        assert pid_of(engine) == pid, "a second start does nothing"
        async with http.post(f"{url}/chat/completions", json=body(engine)) as response:
            assert response.status == 401
        async with http.get(f"{url}/models", headers={"Authorization": "Bearer secret"}) as response:
            assert [model["id"] for model in (await response.json())["data"]] == [engine.model_id]
    assert repr(engine) == "<EmbeddedEngine closed>"
    assert [(step.phase, step.done == step.total) for step in steps] == [("load", False), ("load", True)]
    assert [process.returncode for process in spawned] == [0]
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(f"{url}/models")
    await engine.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
async def test_dies_in_use_and_starts_again() -> None:
    """An engine that died says so, and can be started again."""
    async with EmbeddedEngine(parallel=1) as engine:
        pid = pid_of(engine)
        os.kill(pid, signal.SIGKILL)
        assert await gone(pid)
        async with asyncio.timeout(1):
            while "died" not in repr(engine):
                await asyncio.sleep(0.01)
        assert repr(engine) == f"<EmbeddedEngine died with exit code -9, was pid {pid}>"
        await engine.start()
        assert pid_of(engine) != pid


PARENT = """
import asyncio
from neuroroute.engine import EmbeddedEngine

async def main():
    async with EmbeddedEngine(parallel=1) as engine:
        print(repr(engine).rpartition("pid ")[2].rstrip(">"), engine.url, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
async def test_killed_parent(http: aiohttp.ClientSession) -> None:
    """An engine never outlives its parent by more than a second, however the parent ends."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid, url = (await parent.stdout.readline()).decode().split()
    parent.kill()
    await parent.communicate()
    assert await gone(int(pid))
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(f"{url}/models")


# Starts that fail


async def test_file_that_is_no_gguf(tmp_path: Path, spawned: list[asyncio.subprocess.Process]) -> None:
    """A failed start raises llama.cpp's own words, is not worth a retry, and leaves no process."""
    file = tmp_path / "no.gguf"
    file.write_text("GGUF, it says, and is no model.")
    engine = EmbeddedEngine(model_path=file)
    with pytest.raises(ModelUnavailableError, match=r"(?s)did not start.*It said last:.*no\.gguf") as failure:
        await engine.start()
    assert (failure.value.retryable, failure.value.model) == (False, "no")
    assert repr(engine) == "<EmbeddedEngine failed to start>"
    assert [process.returncode for process in spawned] == [1]


async def test_loading_takes_too_long(spawned: list[asyncio.subprocess.Process]) -> None:
    """A load that passes its limit is ended."""
    with pytest.raises(ModelTimeoutError, match="start_timeout_ms"):
        await EmbeddedEngine(parallel=1, start_timeout_ms=50).start()
    assert [process.returncode is None for process in spawned] == [False]


async def test_cancelled_while_loading(spawned: list[asyncio.subprocess.Process]) -> None:
    """A start that is cancelled while the model loads leaves no process."""
    starting = asyncio.create_task(EmbeddedEngine(parallel=1).start())
    while not spawned:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert [process.returncode is None for process in spawned] == [False]


async def test_progress_that_fails(spawned: list[asyncio.subprocess.Process]) -> None:
    """A callback that raises when all is loaded fails the start, and leaves no process."""

    def fail(step: Progress) -> None:
        if step.done:
            raise LookupError

    with pytest.raises(LookupError):
        await EmbeddedEngine(parallel=1, on_progress=fail).start()
    assert [process.returncode for process in spawned] == [0]


async def test_cancelled_while_downloading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that is cancelled during the download waits until the download has ended."""
    steps: list[Progress] = []
    ended = False

    def endless(_path: object, on_progress: Callable[[Progress], object]) -> models.ModelFile:
        nonlocal ended
        try:
            while True:
                on_progress(Progress("download", 1, None))
        finally:
            ended = True

    monkeypatch.setattr(server, "model_file", endless)
    starting = asyncio.create_task(EmbeddedEngine(on_progress=steps.append).start())
    while not steps:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert ended


async def test_progress_that_fails_while_downloading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the callback raises ends the download at once, and is what start() raises; the event loop hears nothing."""
    told, complaints = 0, []
    fetched: list[int] = []

    def five_steps(_path: object, on_progress: Callable[[Progress], object]) -> models.ModelFile:
        for step in range(5):
            on_progress(Progress("download", step, 5))
            fetched.append(step)
            time.sleep(0.05)  # the event loop's turn; it is in another thread
        raise AssertionError("all was downloaded")

    def fail(step: Progress) -> None:
        nonlocal told
        told += 1
        raise LookupError("not this model")

    monkeypatch.setattr(server, "model_file", five_steps)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    engine = EmbeddedEngine(on_progress=fail)
    with pytest.raises(LookupError, match="not this model"):
        await engine.start()
    assert (told, complaints, repr(engine)) == (1, [], "<EmbeddedEngine failed to start>")
    assert len(fetched) < 5


async def test_start_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, start() says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r'pip install "neuroroute\[embedded\]"'):
        await EmbeddedEngine().start()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *[("context_length", value) for value in (0, -1, "x", 1.5, True, None)],
        *[("parallel", value) for value in (0, "2", 1.5, True)],
        *[("start_timeout_ms", value) for value in (0, "x", True, float("nan"), float("inf"))],
    ],
)
def test_arguments_are_checked(argument: str, value: Any) -> None:
    """A number that cannot be is refused at construction, by its name."""
    with pytest.raises(ConfigurationError, match=f"{argument} should be .* more than 0, not {value!r}"):
        EmbeddedEngine(**{argument: value})
