"""Tools: what a model may call, checked before it runs."""

from neuroroute.tools.definitions import FunctionDefinition, ToolDefinition
from neuroroute.tools.functions import Tool, tool
from neuroroute.tools.toolbox import Toolbox

__all__ = ["FunctionDefinition", "Tool", "ToolDefinition", "Toolbox", "tool"]
