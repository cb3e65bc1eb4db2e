from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.xdist_group("package")  # the wheel is built once


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(target), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.whl"))


def test_the_wheel_holds_what_it_needs(wheel: Path) -> None:
    """The marker for type checkers and the chat template are in the wheel, tests and benchmarks are not."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {"neuroroute/py.typed", "neuroroute/engine/chat_template.jinja"} <= {*names}
    assert all(name.startswith(("neuroroute/", "neuroroute-")) for name in names)


def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """The built wheel installs into an empty environment, imports there and answers.

    It brings at most 12 packages for a completion, and two that tools load on first use.
    """
    venv.create(tmp_path, with_pip=True)
    python = tmp_path / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True)
    code = (
        "import importlib.metadata as m\n"
        "from neuroroute import SyncLMStudioAdapter\n"
        "from neuroroute.simulator import Simulator\n"
        "with Simulator() as sim, SyncLMStudioAdapter('llama3', base_url=sim.url) as adapter:\n"
        "    print(adapter.generate_completion('hi').text)\n"
        "print(*{d.name for d in m.distributions()} - {'pip', 'setuptools'}, sep=',')\n"
    )
    done = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    text, packages = done.stdout.splitlines()
    assert text == "You said: hi"
    assert len({*packages.split(",")} - {"docstring_parser", "jsonschema_rs"}) <= 12
    # without the extra the program says how to get it
    bare = subprocess.run([python, "-I", "-m", "neuroroute"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert bare.returncode == 2
    assert 'pip install "neuroroute[cli' in bare.stderr
    assert "Traceback" not in bare.stderr
