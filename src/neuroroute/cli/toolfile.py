"""Tools out of a user's file: ``neuroroute chat --tools FILE.py``."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from neuroroute.cli.exits import Terminated
from neuroroute.errors import ConfigurationError
from neuroroute.tools.functions import Tool

_EXAMPLE = """from neuroroute import tool

@tool
def get_weather(city: str) -> str:
    "The weather of a city."
    return "sunny\""""

_UNGUARDED = 'Put what is to run only on its own below `if __name__ == "__main__":`.'


def tools_in(paths: Iterable[Path]) -> list[Tool[..., Any]]:
    """Every ``@tool`` at the top of these files, which are run for it.

    Raises:
        ConfigurationError: a file cannot be run, or has no tools; says what one looks like.
    """
    found: dict[str, Tool[..., Any]] = {}
    for path in paths:
        module = _run(path)
        tools = [tool for value in vars(module).values() if (tool := _tool(value)) is not None]
        if not tools:
            raise ConfigurationError(f"{path} has no @tool functions", hint=f"One looks like this:\n\n{_EXAMPLE}")
        for one in tools:
            if found.setdefault(one.name, one) is not one:
                raise ConfigurationError(f"{path} has a tool {one.name!r}, as another file has", hint="Rename one.")
    return list(found.values())


def _tool(value: object) -> Tool[..., Any] | None:
    return cast("Tool[..., Any]", value) if isinstance(value, Tool) else None


def _run(path: Path) -> ModuleType:
    name = f"neuroroute_tools_{path.stem}"
    if not path.exists():
        raise ConfigurationError(f"there is no file {path}", hint="Name a Python file with @tool functions.")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"{path} is no Python file", hint="Name a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations of its functions are looked up there
    try:
        # What it prints is none of our output, which may be JSON.
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except Terminated:
        raise
    except SystemExit as error:
        raise ConfigurationError(f"{path} ends the program when it is run", hint=_UNGUARDED) from error
    except Exception as error:
        raise ConfigurationError(f"{path} cannot be run: {type(error).__name__}: {error}", hint="Mend it.") from error
    return module
