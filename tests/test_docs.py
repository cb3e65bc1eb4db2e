from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import neuroroute

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_is_up_to_date() -> None:
    """docs/api.md is what the docstrings say now; `make docs` makes it anew."""
    built = subprocess.run([sys.executable, ROOT / "docs" / "build_api.py", "--check"], check=False)
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
