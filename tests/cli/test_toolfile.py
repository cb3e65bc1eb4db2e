from __future__ import annotations

from pathlib import Path

import pytest

from neuroroute import ConfigurationError
from neuroroute.cli.toolfile import tools_in

GOOD = '''
from __future__ import annotations
from neuroroute import tool

class Place: ...

@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b

def helper(): ...
'''


def test_the_tools_of_a_file(tmp_path: Path) -> None:
    """Every @tool at the top of a file is offered, and nothing else of it."""
    file = tmp_path / "tools.py"
    file.write_text(GOOD, encoding="utf-8")
    (add,) = tools_in([file])
    assert (add.name, add(1, 2)) == ("add", 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "has no @tool functions. One looks like this"),
        ("import nowhere_at_all", "cannot be run: ModuleNotFoundError"),
        ("import sys\nsys.exit(0)", "ends the program when it is run"),
        ("raise SystemExit('secret')", "ends the program when it is run"),
        ("def (", "cannot be run: SyntaxError"),
        ("from neuroroute import tool\n@tool\ndef f(*a): ...", "cannot be run: ModelInvalidRequestError"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    """What is wrong with a file is said in one line, with an example where it has no tools."""
    file = tmp_path / "tools.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=says):
        tools_in([file])


def test_files_that_are_none_and_names_that_come_twice(tmp_path: Path) -> None:
    """A missing file, a folder, and two tools of one name are refused."""
    with pytest.raises(ConfigurationError, match=r"there is no file .*none\.py"):
        tools_in([tmp_path / "none.py"])
    with pytest.raises(ConfigurationError, match="is no Python file"):
        tools_in([tmp_path])
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"b\.py has a tool 'add', as another file has"):
        tools_in([tmp_path / "a.py", tmp_path / "b.py"])
