"""Tools of MCP servers, as tools like any other; needs the extra ``mcp``, which is loaded when a server is opened."""

from neuroroute.mcp.server import MCPOptions, MCPServer

__all__ = ["MCPOptions", "MCPServer"]
