"""What a model may call: definitions, functions as tools, and the box that checks calls and runs them."""

from neuroroute.tools.definitions import FunctionDefinition, ToolDefinition
from neuroroute.tools.functions import Tool, tool
from neuroroute.tools.toolbox import CheckedCall, Toolbox, ToolItem

__all__ = ["CheckedCall", "FunctionDefinition", "Tool", "ToolDefinition", "ToolItem", "Toolbox", "tool"]
