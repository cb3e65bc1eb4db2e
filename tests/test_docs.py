from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neuroroute

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("builder", ["build_api.py", "build_cli.py"])
def test_the_reference_is_up_to_date(builder: str) -> None:
    """docs/api.md is what the docstrings say now, docs/cli.md what the commands say; `make docs` makes them anew."""
    built = subprocess.run([sys.executable, ROOT / "docs" / builder, "--check"], check=False)
    assert built.returncode == 0, "run `make docs`"


def test_every_public_name_is_described() -> None:
    """The reference knows every name of the package."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in neuroroute.__all__ if not re.search(rf"\b{name}\b", page)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link inside the project leads to a file that is there."""
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_is_python(page: Path) -> None:
    """Every Python block in the pages compiles, and imports only names that are there."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        if page.name == "api.md":
            continue
        compile(block, page.name, "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT
        for names in re.findall(r"^from neuroroute import (.+)$", block, re.MULTILINE):
            assert all(hasattr(neuroroute, name.strip()) for name in names.strip("()").split(","))


def note_codes(tree: ast.Module) -> set[str]:
    """The codes that a file gives to notes; a computed one is a key of the file's table ``_SAID``."""
    codes: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Note":
            code = node.args[0]
            codes |= {code.value} if isinstance(code, ast.Constant) else table(tree)
    return codes


def table(tree: ast.Module) -> set[str]:
    said = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_SAID"
    )
    return {*ast.literal_eval(said)}


def test_every_note_is_described() -> None:
    """docs/notes.md has a row for every code that a note in the source can have, sorted, and no others."""
    files = Path(neuroroute.__file__).parent.rglob("*.py")
    codes = set[str]().union(*(note_codes(ast.parse(path.read_text(encoding="utf-8"))) for path in files))
    page = (ROOT / "docs" / "notes.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE) == sorted(codes)
