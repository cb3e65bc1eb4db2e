from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import AudioContent, CallToolResult, TextContent

from neuroroute import (
    ConfigurationError,
    LMStudioAdapter,
    ModelInvalidRequestError,
    SyncLMStudioAdapter,
    Tool,
    ToolArgumentsError,
    ToolFailedError,
    tool,
)
from neuroroute.mcp import MCPServer
from neuroroute.mcp.contents import NOTHING, as_text
from neuroroute.mcp.server import tool_name
from neuroroute.simulator import Answer, Simulator
from neuroroute.tools import Toolbox
from neuroroute.tools.definitions import is_tool_name

SCRIPT = str(Path(__file__).with_name("mcp_server.py"))
SILENT = "import sys; sys.stdin.read()"


def little(*arguments: str, **options: Any) -> MCPServer:
    return MCPServer.stdio(sys.executable, SCRIPT, *arguments, **options)


def named(server: MCPServer) -> dict[str, Tool[..., Any]]:
    return {each.name: each for each in server.tools}


async def until(path: Path, text: str) -> None:
    while not path.exists() or path.read_text() != text:
        await asyncio.sleep(0.01)


pytestmark = pytest.mark.xdist_group("mcp")  # its servers start once


@pytest.fixture(scope="module")
def opened() -> Iterator[MCPServer]:
    """Opened without asyncio; the tests call its tools each from a loop of its own."""
    with little() as server:
        yield server


@pytest.fixture
def address() -> Iterator[str]:
    with subprocess.Popen([sys.executable, SCRIPT, "http"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
        process.kill()


@pytest.fixture(autouse=True, scope="module")
def nothing_stays() -> Iterator[None]:
    """A closed server leaves no thread behind."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("neuroroute mcp"):
            thread.join(5)
            assert not thread.is_alive(), thread.name


# What a tool is and gives


async def test_a_servers_tools_are_tools(opened: MCPServer) -> None:
    """Each has the server's name, description and schema, and gives what the server gives."""
    add = named(opened)["add"]
    assert add.description == "Adds two numbers."
    assert add.definition.function.parameters["required"] == ["a", "b"]
    assert await add(a=1, b=2) == "3"
    assert await named(opened)["text_upper"](text="hi") == "HI"


async def test_what_is_no_text_is_said_in_words(opened: MCPServer) -> None:
    """Pictures and files are told by kind and size, embedded texts as they are."""
    assert (await named(opened)["picture"]()).splitlines() == [
        "look:",
        "[image/png, 1234 bytes]",
        "[resource notes: file:///notes.txt]",
        "[resource file:///a.txt]",
        "inside",
        "[resource file:///b: application/octet-stream, 2 bytes]",
    ]


def test_structured_content_stands_in_for_text() -> None:
    """Where there is no text, structured content is given as JSON; nothing at all is said, too."""
    sound = AudioContent(type="audio", data="MDA=", mime_type="audio/wav")
    assert as_text(CallToolResult(content=[sound], structured_content={"a": [1]})) == '{"a":[1]}\n[audio/wav, 2 bytes]'
    assert as_text(CallToolResult(content=[TextContent(type="text", text="hi")], structured_content={"a": 1})) == "hi"
    assert as_text(CallToolResult(content=[])) == NOTHING


def test_an_error_is_raised() -> None:
    """A result that says it is an error is raised with its text, or says that there was none."""
    with pytest.raises(ToolFailedError, match="no such file"):
        as_text(CallToolResult(content=[TextContent(type="text", text="no such file")], is_error=True))
    with pytest.raises(ToolFailedError, match="did not say why"):
        as_text(CallToolResult(content=[], is_error=True))


async def test_calls_are_checked_and_bounded_as_of_any_tool(opened: MCPServer) -> None:
    """A toolbox refuses wrong arguments before the server is asked, cuts long results, tells of failures."""
    box = Toolbox.of_runnable(opened.tools, max_result_bytes=1000)
    with pytest.raises(ToolArgumentsError, match='"a" must be an integer'):
        box.check("add", '{"a": "x", "b": 1}')
    assert 900 < len(await box.run(box.check("big", ""))) <= 1000
    with pytest.raises(ToolFailedError, match="the disk is full"):
        await box.run(box.check("fail", "{}"))


async def test_side_by_side_calls(opened: MCPServer) -> None:
    """Many calls at once each get their own answer."""
    add = named(opened)["add"]
    assert await asyncio.gather(*[add(a=i, b=i) for i in range(50)]) == [str(2 * i) for i in range(50)]


# Choosing and naming


async def test_all_pages_are_read() -> None:
    """A list in pages is read to its end; a title stands in for a description; names are mapped."""
    async with little("paged", "a.b", "c/d", "e" * 70) as server:
        assert [each.name for each in server.tools] == ["a_b", "c_d", "e" * 64]
        assert server.tools[0].description == "A.B"
        assert await server.tools[0]() == "a.b was called"


async def test_only_and_prefix() -> None:
    """Only the tools that were asked for are taken, by the server's names, and get the prefix."""
    async with little("paged", "a.b", "c", "d", only={"a.b", "d"}, prefix="my-server", timeout_ms=50) as server:
        assert [each.name for each in server.tools] == ["my-server_a_b", "my-server_d"]
        assert server.tools[0].timeout_ms == 50
    with pytest.raises(ConfigurationError, match=r"'x'.*It has: a\.b, c\.$"):
        async with little("paged", "a.b", "c", only={"x"}):
            pass


async def test_names_that_become_one_are_refused() -> None:
    """Two tools whose names differ in what servers do not take cannot both be offered."""
    with pytest.raises(ConfigurationError, match=r"'a\.b' and 'a_b'.*prefix"):
        async with little("paged", "a.b", "a_b"):
            pass


async def test_a_server_without_tools() -> None:
    """A server that has no tools gives none."""
    async with little("paged") as server:
        assert server.tools == []


@given(st.text(min_size=1), st.from_regex(r"[a-zA-Z0-9_-]{0,70}", fullmatch=True))
def test_every_name_becomes_one_that_servers_take(name: str, prefix: str) -> None:
    """Whatever a server calls its tool, the mapped name can be offered; a good name without prefix stays."""
    assert is_tool_name(tool_name(name, prefix))
    assert not is_tool_name(name) or tool_name(name) == name


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prefix": "a.b"}, "prefix"),
        ({"only": "add"}, "only"),
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"start_timeout_ms": "1"}, "start_timeout_ms"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], told: str) -> None:
    """What is wrong with an option is said at once, before anything runs."""
    with pytest.raises(ModelInvalidRequestError, match=f"^MODEL_INVALID_REQUEST: {told} must be"):
        little(**options)
    with pytest.raises(ModelInvalidRequestError, match="url must be"):
        MCPServer.http("localhost:8000/mcp")
    with pytest.raises(TypeError):
        little(colour="red")


# Opening and closing


async def test_opened_in_one_task_closed_in_another() -> None:
    """A server belongs to no task; closed, its tools say so, and it may be opened again."""
    server = little("paged", "a")
    await asyncio.create_task(server.__aenter__())
    kept = server.tools[0]
    with pytest.raises(ConfigurationError, match="open already"):
        await server.__aenter__()
    await asyncio.create_task(server.aclose())
    await server.aclose()
    with pytest.raises(ToolFailedError, match="was closed"):
        await kept()
    with pytest.raises(ConfigurationError, match="is not open"):
        _ = server.tools
    with server:
        assert await server.tools[0]() == "a was called"


async def test_two_servers_side_by_side(opened: MCPServer) -> None:
    """Servers do not know of each other, and a prefix keeps their tools apart."""
    async with little(prefix="two") as second:
        box = Toolbox.of_runnable([*opened.tools, *second.tools])
        assert await box.run(box.check("add", '{"a": 1, "b": 2}')) == "3"
        assert await box.run(box.check("two_add", '{"a": 3, "b": 4}')) == "7"
    assert await named(opened)["add"](a=1, b=1) == "2"


async def test_environment(opened: MCPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server gets what it is given, and not our whole environment; it runs where it is told to."""
    monkeypatch.setenv("LM_API_TOKEN", "secret")
    async with little(env={"COLOUR": "red"}, cwd=tmp_path) as server:
        env = named(server)["env"]
        assert await env(name="COLOUR") == "red"
        assert await env(name="LM_API_TOKEN") == NOTHING
        assert await named(server)["cwd"]() == str(tmp_path.resolve())


async def test_cancellation_reaches_the_server(opened: MCPServer, tmp_path: Path) -> None:
    """A call that is cancelled, or passes its limit, is cancelled at the server, which goes on."""
    marker = tmp_path / "marker"
    call = asyncio.create_task(named(opened)["slow"](marker=str(marker)))
    await until(marker, "began")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(marker, "cancelled")
    box = Toolbox.of_runnable(opened.tools, timeout_ms=50)
    with pytest.raises(ToolFailedError, match="longer than its limit"):
        await box.run(box.check("slow", f'{{"marker": "{marker.as_posix()}"}}'))
    assert await named(opened)["add"](a=1, b=1) == "2"


async def test_closing_ends_calls(tmp_path: Path) -> None:
    """A call that runs when the server is closed fails; it is not taken for a cancellation of its caller."""
    async with little() as server:
        call = asyncio.create_task(named(server)["slow"](marker=str(tmp_path / "marker")))
        await until(tmp_path / "marker", "began")
    with pytest.raises(ToolFailedError, match="was closed"):
        await call


# What goes wrong


async def test_a_server_that_dies() -> None:
    """Its calls fail and say so, with its last words for whoever debugs; closing it is no error."""
    async with little() as server:
        for name, arguments in (("die", {}), ("add", {"a": 1, "b": 1})):
            with pytest.raises(ToolFailedError, match="has ended") as caught:
                await named(server)[name](**arguments)
        assert caught.value.details["stderr"][-1] == "I die"


@pytest.mark.parametrize(
    ("program", "limit", "told"),
    [
        ("raise SystemExit('no licence')", 60_000, "It said last:\n  no licence"),
        (SILENT, 100, "within 100 ms. Allow more with start_timeout_ms"),
    ],
)
async def test_a_server_that_does_not_start(program: str, limit: float, told: str) -> None:
    """What a server wrote before it ended is told; one that says nothing is not waited for without end."""
    with pytest.raises(ConfigurationError) as caught:
        async with MCPServer.stdio(sys.executable, "-c", program, start_timeout_ms=limit):
            pass
    assert told in str(caught.value)
    assert program not in str(caught.value)


def test_a_program_that_is_not_there() -> None:
    """A command that cannot be run is named, in the blocking form too."""
    with pytest.raises(ConfigurationError, match="'no-such-program' did not start: it cannot be run"):
        MCPServer.stdio("no-such-program", "--token=secret").__enter__()


async def test_opening_may_be_cancelled() -> None:
    """Who gives up while a server starts leaves nothing behind, and may try again."""
    server = MCPServer.stdio(sys.executable, "-c", SILENT)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await server.__aenter__()


def test_without_the_extra() -> None:
    """The SDK is loaded when a server is opened, not before; where it is missing, what to install is said."""
    code = """
import sys
from neuroroute.mcp import MCPServer
server = MCPServer.stdio("x")
assert not {"mcp", "anyio", "httpx2", "pydantic"} & {*sys.modules}
sys.modules["mcp"] = None
try:
    server.__enter__()
except ValueError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "neuroroute[mcp]"' in told


# HTTP


async def test_over_http(address: str, tmp_path: Path) -> None:
    """Over HTTP it is the same, cancellation too; headers are sent with each request."""
    async with MCPServer.http(address, headers={"X-Colour": "red"}) as server:
        assert repr(server) == f"<MCPServer {address}, {len(server.tools)} tools>"
        tools = named(server)
        assert await tools["add"](a=1, b=2) == "3"
        assert await tools["header"](name="x-colour") == "red"
        with pytest.raises(ToolFailedError, match="the disk is full"):
            await tools["fail"]()
        call = asyncio.create_task(tools["slow"](marker=str(tmp_path / "marker")))
        await until(tmp_path / "marker", "began")
        call.cancel()
        await until(tmp_path / "marker", "cancelled")


async def test_an_http_server_that_dies(address: str) -> None:
    """Its calls fail and say so, without user, password and query of the address; so does opening it again."""
    secret = address.replace("http://", "http://ann:secret@") + "?token=secret"
    server = MCPServer.http(secret)
    async with server:
        for name, arguments in (("die", {}), ("add", {"a": 1, "b": 1}), ("add", {"a": 1, "b": 1})):
            with pytest.raises(ToolFailedError, match="has ended, or closed the connection") as caught:
                await named(server)[name](**arguments)
            assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="Is it running") as refused:
        await server.__aenter__()
    assert "secret" not in str(refused.value)


# The loop


@tool
def shout(text: str) -> str:
    """Shouts.

    Args:
        text: what to shout.
    """
    return text.upper() + "!"


async def test_a_whole_loop(opened: MCPServer, adapter: LMStudioAdapter, lmstudio: Simulator) -> None:
    """The model's calls go to the server and to functions alike, and its failures are told to the model."""
    lmstudio.answer(Answer(tool_calls=[("add", {"a": 2, "b": 3}), ("shout", {"text": "hi"}), ("fail", {})]))
    lmstudio.answer(Answer("It is 5."))
    response = await adapter.run_tools("2 + 3?", tools=[*opened.tools, shout], max_rounds=2)
    assert response.text == "It is 5."
    five, shouted, failed = (message.text for message in response.messages[-4:-1])
    assert (five, shouted) == ("5", "HI!")
    assert failed.startswith("Error: ")
    assert "the disk is full" in failed


def test_from_threads_without_asyncio(opened: MCPServer, lmstudio: Simulator) -> None:
    """The blocking adapter runs the tools, too, and so does any other loop, from several threads at once."""
    lmstudio.answer(Answer(tool_calls=[("add", {"a": 2, "b": 3})]))
    lmstudio.answer(Answer("It is 5."))
    with SyncLMStudioAdapter("llama3", base_url=lmstudio.url) as adapter:
        response = adapter.run_tools("2 + 3?", tools=opened.tools, max_rounds=1)
    assert [message.text for message in response.messages[-2:]] == ["5", "It is 5."]
    add = named(opened)["add"]
    with ThreadPoolExecutor() as pool:
        assert [*pool.map(lambda i: asyncio.run(add(a=i, b=1)), range(4))] == ["1", "2", "3", "4"]
