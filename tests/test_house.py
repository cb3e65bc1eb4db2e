"""The laws of the house that no single room can keep."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import neuroroute

SOURCE = Path(neuroroute.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_is_light() -> None:
    """Importing the package loads neither aiohttp nor the engine nor the simulator nor the command line."""
    loaded = run("import sys, neuroroute; print(*sorted({name.split('.')[0] for name in sys.modules}))").split()
    heavy = "aiohttp yarl click rich prompt_toolkit xllamacpp pydantic jsonschema_rs docstring_parser mcp anyio sqlite3"
    heavy += " opentelemetry prometheus_client"
    assert not {*heavy.split()} & {*loaded}
    inner = run("import sys, neuroroute; print(*sys.modules)").split()
    assert not {"neuroroute.engine", "neuroroute.simulator", "neuroroute.cli", "neuroroute.pipe.transport"} & {*inner}


def test_public_names_are_sorted_and_there() -> None:
    """__all__ is sorted, and every name in it exists."""
    assert neuroroute.__all__ == sorted(neuroroute.__all__)
    assert all(hasattr(neuroroute, name) for name in neuroroute.__all__)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_and_functions_stay_small(path: Path) -> None:
    """A file is about 300 lines at most, a function about 40 without its docstring."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 330
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            assert not body or (node.end_lineno or 0) - body[0].lineno + 1 <= 45, node.name


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "wire"], ids=lambda path: path.name)
def test_wire_is_pure(path: Path) -> None:
    """What encodes and decodes knows no network, no files, no clock and no chance."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not imported & {"aiohttp", "asyncio", "socket", "time", "random", "os", "pathlib", "datetime"}


def test_every_test_states_its_law() -> None:
    """Each test's docstring says in a sentence what must hold."""
    silent = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in Path(__file__).parent.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []
