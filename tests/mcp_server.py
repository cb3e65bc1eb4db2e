"""A little MCP server, made with the official SDK; the tests run it as a process of its own.

``python mcp_server.py`` speaks over stdin and stdout, ``python mcp_server.py http`` over HTTP on a free port of the
loopback, which it prints. ``python mcp_server.py paged NAME...`` has tools of these names, one a page; without names
it has no tools at all.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import MCPServer, Server
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from mcp.types import (
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)

server = MCPServer("little")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool(name="text.upper", structured_output=False)
def upper(text: str) -> str:
    """Writes in capitals."""
    return text.upper()


@server.tool()
def fail() -> str:
    """Fails."""
    raise ToolError("the disk is full")


@server.tool()
async def slow(marker: str) -> str:
    """Takes for ever; says in files that it began and that it was cancelled."""
    Path(marker).write_text("began")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        Path(marker).write_text("cancelled")
        raise
    return "done"


@server.tool(structured_output=False)
def big() -> str:
    """Says much."""
    return "x" * 1_000_000


@server.tool()
def die() -> str:
    """Ends the server's process."""
    print("I die", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool(structured_output=False)
def env(name: str) -> str:
    """An environment variable."""
    return os.environ.get(name, "")


@server.tool(structured_output=False)
def cwd() -> str:
    """The directory that it runs in."""
    return str(Path.cwd())


@server.tool(structured_output=False)
def header(name: str, context: Context) -> str:
    """A header of the request."""
    return (context.headers or {}).get(name, "")


@server.tool()
def picture() -> Any:
    """A picture, and resources."""
    return CallToolResult(
        content=[
            TextContent(type="text", text="look:"),
            ImageContent(type="image", data=base64.b64encode(b"0" * 1234).decode(), mime_type="image/png"),
            ResourceLink(type="resource_link", name="notes", uri="file:///notes.txt"),
            EmbeddedResource(type="resource", resource=TextResourceContents(uri="file:///a.txt", text="inside")),
            EmbeddedResource(
                type="resource", resource=BlobResourceContents(uri="file:///b", blob=base64.b64encode(b"12").decode())
            ),
        ]
    )


def paged(names: list[str]) -> Server[Any]:
    async def listed(context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        page = int(params.cursor) if params and params.cursor else 0
        tool = Tool(name=names[page], title=names[page].title(), input_schema={"type": "object"})
        return ListToolsResult(tools=[tool], next_cursor=str(page + 1) if page + 1 < len(names) else None)

    async def called(context: Any, params: CallToolRequestParams) -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text=f"{params.name} was called")])

    return Server("paged", on_list_tools=listed, on_call_tool=called) if names else Server("none")


async def serve(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def main() -> None:
    if "paged" in sys.argv:
        asyncio.run(serve(paged(sys.argv[2:])))
        return
    if "http" not in sys.argv:
        server.run("stdio")
        return
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # connections wait from now on
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning")).run([listening])


if __name__ == "__main__":
    main()
