from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute.errors import (
    ModelInvalidRequestError,
    ToolArgumentsError,
    ToolError,
    ToolFailedError,
    ToolUnknownError,
)
from neuroroute.tools import CheckedCall, Tool, Toolbox, ToolDefinition, tool
from neuroroute.tools.results import bounded

DEFINITION = {
    "type": "function",
    "function": {
        "name": "offered",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "strict": True,
    },
}


@tool
async def add(a: int, b: int = 2) -> int:
    """Adds."""
    return a + b


def plain(text: str) -> str:
    return text


async def result(function: Callable[..., Any], arguments: str = "", **limits: Any) -> str:
    box = Toolbox([Tool(function, name="f")], **limits)
    return await box.run(box.check("f", arguments))


def test_a_box_of_all_kinds() -> None:
    """Tools, functions, definitions and dicts are offered alike, in their order; some of them can be run."""
    definition = ToolDefinition.of({"function": {"name": "typed", "parameters": {}}})
    box = Toolbox([add, plain, definition, DEFINITION])
    assert box.names == ("add", "plain", "typed", "offered")
    assert box.runnable == ("add", "plain")
    assert (len(box), "add" in box, "nope" in box, 5 in box) == (4, True, False, False)
    assert [item.name for item in box] == list(box.names)
    assert box["add"] is add
    assert box.definitions[:3:2] == (add.definition, definition)
    assert msgspec.json.decode(box.wire)[3]["function"]["strict"] is True
    assert msgspec.json.decode(box.wire)[:3] == [msgspec.to_builtins(each) for each in box.definitions[:3]]
    assert repr(box) == "<Toolbox add, plain, typed, offered>"
    assert Toolbox(box).wire == Toolbox(iter(box)).wire == box.wire
    for name in ("typed", "nope"):
        with pytest.raises(KeyError):
            box[name]


def test_an_empty_box() -> None:
    """No tools are offered as an empty array."""
    box = Toolbox([])
    assert (box.wire, box.names) == (b"[]", ())
    with pytest.raises(ToolUnknownError, match="there are no tools"):
        box.check("f", "")


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (add, "tools must be a list of tools, not a value of type Tool"),
        (DEFINITION, "tools must be a list of tools, not a value of type dict"),
        ("add", "tools must be a list of tools"),
        ([add, 5], r"tools\[1\] must be a tool, a function, a ToolDefinition or a dict, not a value of type int"),
        ([add, {"function": {}}], r"tools\[1\].function.name must be"),
        ([add, lambda: 1], r"tools\[1\]: '<lambda>' cannot be the name of a tool"),
        ([plain, add, plain], r"tools\[2\] is a second tool of the name 'plain'"),
    ],
)
def test_what_is_no_list_of_tools_is_refused(items: Any, says: str) -> None:
    """A wrong item is told by its place, and each name may come once."""
    with pytest.raises(ModelInvalidRequestError, match=says):
        Toolbox(items)


def test_only_functions_can_be_run() -> None:
    """Where all must be run, a definition without function is refused before anything is sent."""
    assert Toolbox.of_runnable([add, plain]).runnable == ("add", "plain")
    with pytest.raises(
        ModelInvalidRequestError, match=r"tools\[1\] \(offered\) has no function to run.*Tool\(function"
    ):
        Toolbox.of_runnable([add, DEFINITION])


def test_a_toolbox_keeps_its_limits() -> None:
    """A toolbox that is to be run keeps limits of its own, unless others are given; other items get the defaults."""

    def limits(items: Any, **given: Any) -> tuple[float, int]:
        box = Toolbox.of_runnable(items, **given)
        return box.timeout_ms, box.max_result_bytes

    own = Toolbox([add], timeout_ms=5, max_result_bytes=7)
    assert limits(own) == (5, 7)
    assert limits(own, timeout_ms=6) == (6, 7)
    assert limits(own, max_result_bytes=8) == (5, 8)
    assert limits([add]) == (60_000, 65_536)


async def test_calls_of_definitions_are_checked_but_not_run() -> None:
    """Arguments for a dict are checked by its schema; there is nothing to run."""
    box = Toolbox([DEFINITION, {"function": {"name": "far", "parameters": {"$ref": "https://example.com/x"}}}])
    assert box.check("offered", '{"a": 1}').arguments == {"a": 1}
    for text in ('{"a": "1"}', '{"b": 1}'):
        with pytest.raises(ToolArgumentsError):
            box.check("offered", text)
    with pytest.raises(ToolFailedError, match="offered has no function to run"):
        await box.run(box.check("offered", ""))
    with pytest.raises(ModelInvalidRequestError, match="switched off"):
        box.check("far", "")


@pytest.mark.parametrize(
    "limits", [{"timeout_ms": 0}, {"timeout_ms": "1"}, {"max_result_bytes": 0}, {"max_result_bytes": 1.5}]
)
def test_limits_are_checked(limits: Any) -> None:
    """A limit that is none is refused by name."""
    with pytest.raises(ModelInvalidRequestError, match=next(iter(limits))):
        Toolbox([], **limits)


def test_an_unknown_tool_is_told_what_there_is() -> None:
    """A model that calls what is not offered is told the names that are."""
    with pytest.raises(ToolUnknownError, match="there is no tool 'sub'; the tools are: add, plain"):
        Toolbox([add, plain]).check("sub", "{}")


async def test_a_call_is_checked_then_run() -> None:
    """An async tool is awaited with the arguments that were checked; a call shows no arguments' values."""
    box = Toolbox([add, plain])
    call = box.check("add", '{"a": 1}')
    assert (call.name, call.arguments, repr(call)) == ("add", {"a": 1}, "<CheckedCall add(a)>")
    assert await box.run(call) == "3"
    assert await box.run(box.check("plain", '{"text": "h\\u00e9"}')) == "hé"


async def test_sync_tools_run_beside_the_event_loop() -> None:
    """A sync function runs in a thread of its own, with the caller's context; the loop goes on meanwhile."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")
    go = threading.Event()

    def f() -> list[Any]:
        assert go.wait(10)
        return [variable.get(), threading.current_thread() is threading.main_thread()]

    running = asyncio.create_task(result(f))
    await asyncio.sleep(0)
    go.set()  # could not be reached, were f run in the loop
    assert await running == '["seen",false]'


async def test_a_sync_function_may_give_an_awaitable() -> None:
    """What is awaitable is awaited, however the function was written; callable objects too."""

    class Async:
        async def __call__(self) -> str:
            return threading.current_thread().name

    def f() -> Awaitable[int]:
        return add(1)

    assert await result(f) == "3"
    assert await result(Async()) == threading.main_thread().name
    assert await result(Tool(add, name="g"), '{"a": 1}') == "3"


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    when: date


class Model(pydantic.BaseModel):
    x: int = 1
    when: date = date(2000, 1, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, "null"),
        (1.5, "1.5"),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        (Colour.RED, '"red"'),
        (Point(1, date(2000, 1, 2)), '{"x":1,"when":"2000-01-02"}'),
        ([Model()], '[{"x":1,"when":"2000-01-02"}]'),
        ("half \ud800", "half ?"),
    ],
)
async def test_results_are_text(value: Any, text: str) -> None:
    """A text is told as it is, anything else as JSON."""
    assert await result(lambda: value) == text


@pytest.mark.parametrize("value", [object(), {"a": lambda: 1}, {"a": "\ud800"}])
async def test_a_result_that_json_cannot_say_is_a_failure(value: Any) -> None:
    """What cannot be told to the model is told as a failure of the tool."""
    with pytest.raises(ToolFailedError, match=r"f gave (an object|a dict) that cannot be told as JSON"):
        await result(lambda: value)


async def test_a_tool_that_raises() -> None:
    """What a tool raised is named by type and text, and is the cause; an async one and a sync one alike."""

    async def later() -> None:
        raise KeyError("city")

    def at_once() -> None:
        raise KeyError("city")

    for function in (later, at_once):
        with pytest.raises(ToolFailedError, match="f raised KeyError: 'city'") as caught:
            await result(function)
        assert isinstance(caught.value.__cause__, KeyError)


async def test_an_error_that_says_nothing() -> None:
    """Where an error has no text, its type alone is told, and a value's kind with its article."""

    def f(kind: str) -> object:
        if kind == "error":
            raise ValueError
        return object()

    for kind, says in {"error": "f raised ValueError", "value": "f gave an object that cannot be told as JSON"}.items():
        with pytest.raises(ToolFailedError) as caught:
            await result(f, f'{{"kind": "{kind}"}}')
        assert caught.value.message == says


@pytest.mark.parametrize("error", [StopIteration("x"), asyncio.CancelledError(), TimeoutError("mine")])
async def test_awkward_errors_are_failures_too(error: BaseException) -> None:
    """An error that means something to Python itself is a failure of the tool as any other."""

    def f() -> None:
        raise error

    with pytest.raises(
        ToolFailedError, match=r"raised RuntimeError: (StopIteration x|CancelledError)|raised TimeoutError: mine"
    ):
        await result(f)


@pytest.mark.parametrize(("code", "told"), [(3, "3"), (None, "0"), ("usage: f", "usage: f")])
@pytest.mark.parametrize("kind", ["sync", "async", "awaitable"])
def test_a_tool_that_exits_has_failed(kind: str, code: Any, told: str) -> None:
    """sys.exit in a tool ends neither the event loop nor the program: it is a failure of the tool."""

    async def later() -> None:
        sys.exit(code)

    def at_once() -> None:
        sys.exit(code)

    def awaitable() -> Awaitable[None]:
        return later()

    async def main() -> str:
        with pytest.raises(ToolFailedError, match=f"f raised RuntimeError: exited with {told}") as caught:
            await result({"sync": at_once, "async": later, "awaitable": awaitable}[kind])
        return caught.value.code

    assert asyncio.run(main()) == "TOOL_FAILED"


def test_an_interrupt_that_a_thread_raises_is_a_failure() -> None:
    """A sync tool that raises KeyboardInterrupt itself does not end the event loop."""

    def f() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        with pytest.raises(ToolFailedError, match="KeyboardInterrupt"):
            await result(f)

    asyncio.run(main())


async def test_a_cancellation_of_something_else_is_a_failure() -> None:
    """A tool that waited for a task which others cancelled has failed; its caller is not cancelled."""

    async def f() -> None:
        other = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        other.cancel()
        await other

    with pytest.raises(ToolFailedError, match="f waited for something that was cancelled") as caught:
        await result(f)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


async def test_a_tools_own_words_are_bounded() -> None:
    """A ToolFailedError of a tool is told as it is, and cut as a result is when it is too long."""
    short = ToolFailedError("no", hint="Try b.", details={"a": 1})
    long = ToolFailedError("z" * 1_000_000, hint="Try b.", details={"a": 1})

    def f(error: bool) -> None:
        raise long if error else short

    with pytest.raises(ToolFailedError) as caught:
        await result(f, '{"error": false}')
    assert caught.value is short
    with pytest.raises(ToolFailedError, match="are not shown") as caught:
        await result(f, '{"error": true}', max_result_bytes=200)
    assert len(caught.value.message) <= 200
    assert (caught.value.hint, caught.value.details) == ("Try b.", {"a": 1})


async def test_what_a_tool_raised_is_bounded() -> None:
    """The text of an error is cut as a result is."""

    def f() -> None:
        raise ValueError("x" * 10_000)

    with pytest.raises(ToolFailedError) as caught:
        await result(f, max_result_bytes=200)
    assert 190 < len(caught.value.message) <= 200


async def test_a_tools_own_limit_wins() -> None:
    """A tool that takes longer than its limit fails, and an async one is cancelled."""
    cancelled = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    box = Toolbox([Tool(slow, timeout_ms=1)], timeout_ms=60_000)
    with pytest.raises(ToolFailedError, match=r"slow took longer than its limit of 0\.001 s") as caught:
        await box.run(box.check("slow", ""))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert cancelled.is_set()


async def test_nobody_waits_for_a_thread_past_its_limit() -> None:
    """A sync function that takes too long goes on unheard, and its late end harms nobody."""
    go = threading.Event()
    ended = threading.Event()

    def slow() -> None:
        go.wait(10)
        ended.set()

    with pytest.raises(ToolFailedError, match="took longer"):
        await result(slow, timeout_ms=1)
    go.set()
    assert await asyncio.to_thread(ended.wait, 10)
    for _ in range(3):  # its end is told to the loop
        await asyncio.sleep(0)


def test_a_thread_outlives_its_loop_in_silence() -> None:
    """A sync function that never ends keeps neither its loop nor the program from ending."""
    go = threading.Event()
    threads: list[threading.Thread] = []

    def slow() -> None:
        threads.append(threading.current_thread())
        go.wait(10)

    with pytest.raises(ToolFailedError):
        asyncio.run(result(slow, timeout_ms=1))
    go.set()
    threads[0].join(10)
    assert threads[0].daemon
    assert not threads[0].is_alive()


async def test_cancellation_passes_through() -> None:
    """Whoever cancels a call gets CancelledError, not a tool's failure."""
    started = asyncio.Event()

    async def slow() -> None:
        started.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(result(slow))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_long_results_are_cut_honestly() -> None:
    """A result over the limit keeps to it, and says how much is missing."""
    text = await result(lambda: "é" * 100_000)
    assert len(text.encode()) <= 65_536
    kept, _, ending = text.partition("...")
    assert ending == f" [cut: the last {200_000 - len(kept.encode())} of 200000 bytes are not shown]"
    assert await result(lambda: "é" * 32_768) == "é" * 32_768


@given(st.text(max_size=300), st.integers(80, 400))
def test_cutting_keeps_characters_whole(text: str, limit: int) -> None:
    """What is told is the text, or a beginning of it with an ending, and never more than the limit."""
    told = bounded(text, limit)
    assert len(told.encode()) <= limit
    assert told == text or text.startswith(told.rpartition("... [cut")[0])
    assert (told == text) == (len(text.encode()) <= limit)


def test_checking_by_types_is_light() -> None:
    """Neither jsonschema-rs nor pydantic is loaded for tools made of signatures, until something is wrong."""
    import subprocess

    code = """import sys
from neuroroute.tools import Toolbox, tool
@tool
def f(a: int) -> int:
    "Does it."
    return a
assert "docstring_parser" in sys.modules
Toolbox([f, {"function": {"name": "g", "parameters": {}}}]).check("f", '{"a": 1}')
print(*{"jsonschema_rs", "pydantic"} & {*sys.modules})"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_box_is_cheap_to_make_again() -> None:
    """Making a box of tools that are known reads no function and encodes no definition again."""
    items = [add, plain, ToolDefinition.of(DEFINITION)]
    first = Toolbox(items)
    again = Toolbox(items)
    assert all(a is b for a, b in zip(first.definitions, again.definitions, strict=True))
    assert all(a.wire is b.wire for a, b in zip(first.definitions, again.definitions, strict=True))


def test_all_that_goes_wrong_with_a_call_is_a_tool_error() -> None:
    """A loop may catch ToolError alone."""
    assert {ToolUnknownError, ToolArgumentsError, ToolFailedError} <= {*ToolError.__subclasses__()}
    assert isinstance(CheckedCall("f", {}).arguments, dict)
