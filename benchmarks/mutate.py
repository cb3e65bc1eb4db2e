"""How many small faults in the code that decides do its tests notice: ``make mutate``, ``docs/mutation.md``.

mutmut changes one thing at a time in each file below and runs the tests of that file. It works in a copy of the
project, so that nothing is left in yours. Exits with 1 when fewer than 90 % of a file's mutants are killed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = {
    "pipe/breaker.py": ["pipe/test_breaker*.py"],
    "pipe/retry.py": ["pipe/test_retry*.py"],
    "pipe/retrybudget.py": ["pipe/test_retry*.py"],
    "pipe/admit.py": ["pipe/test_admit*.py"],
    "pipe/gate.py": ["pipe/test_gate*.py", "pipe/test_admit*.py"],
    "pipe/window.py": ["pipe/test_window*.py", "pipe/test_breaker*.py"],
    "wire/sse.py": ["wire/test_sse.py", "wire/test_fuzz.py"],
}
"""What is mutated, and the tests that are to notice."""
WANTED = 0.9
SURVIVORS = ROOT / "build" / "survivors.diff"
_KILLED = ("killed", "timeout", "segfault")
"""A mutant that hangs or crashes is noticed, too."""
_LIMITS = "timeout_multiplier = 5.0\ntimeout_constant = 2.0"
"""A mutant may take five times as long as its tests take without it, and ten seconds more."""
_LEAKS = "default::pytest.PytestUnraisableExceptionWarning"
"""mutmut makes every test fail once, to see that it can: what those leave open must not end pytest itself."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="*", help=f"which of them: {', '.join(FILES)}; all, if none is named")
    wanted = parser.parse_args().file or list(FILES)
    if unknown := set(wanted) - set(FILES):
        parser.error(f"not in the list of this script: {', '.join(sorted(unknown))}")
    if not hasattr(os, "fork"):
        print("mutmut forks a process for each mutant: run this on Linux or macOS, or in WSL", file=sys.stderr)
        return 1
    print(
        "| file | mutants | killed | of these by time | survived | share | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|",
        sep="\n",
    )
    found: list[str] = []
    passed = True
    for name in wanted:
        if not (ROOT / "src" / "neuroroute" / name).exists():
            print(f"| `{name}` | is not there |")
            continue
        begun = time.monotonic()
        states, survivors = mutate(name, FILES[name])
        killed, total = sum(states[state] for state in _KILLED), states.total() - states["skipped"]
        share = killed / total
        passed = passed and share >= WANTED
        numbers = f"{total} | {killed} | {states['timeout']} | {total - killed} | {share:.1%}"
        print(f"| `{name}` | {numbers} | {time.monotonic() - begun:.0f} |", flush=True)
        found += survivors
    SURVIVORS.parent.mkdir(exist_ok=True)
    SURVIVORS.write_text("\n".join(found), encoding="utf-8")
    print(f"{len(found)} survivors, with what was changed: {SURVIVORS.relative_to(ROOT)}")
    return 0 if passed else 1


def mutate(name: str, tests: list[str]) -> tuple[Counter[str], list[str]]:
    """How many of a file's mutants ended how, and the diff of each that was not killed."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        selection = [path.relative_to(ROOT).as_posix() for glob in tests for path in (ROOT / "tests").glob(glob)]
        prepare(copy, f"src/neuroroute/{name}", selection)
        run = mutmut(copy, "run")
        if run.returncode:
            raise SystemExit(f"mutmut failed on {name}:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
        results = [
            line.strip().rpartition(": ") for line in mutmut(copy, "results", "--all", "true").stdout.splitlines()
        ]
        states = Counter(state for _, _, state in results)
        if not states:
            raise SystemExit(f"mutmut found nothing to change in {name}")
        left = [(mutant, state) for mutant, _, state in results if state not in (*_KILLED, "skipped")]
        return states, [f"# {state}: {mutmut(copy, 'show', mutant).stdout}" for mutant, state in left]


def prepare(copy: Path, source: str, tests: list[str]) -> None:
    """Puts the project there, with mutmut's settings for one source."""
    for folder in ("src", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "source_paths": ["src"],
        "only_mutate": [source],
        "pytest_add_cli_args_test_selection": tests,
        "pytest_add_cli_args": ["--hypothesis-profile=mutate", "-p", "no:cacheprovider", "-W", _LEAKS],
    }
    lines = ["", "[tool.mutmut]", _LIMITS, *(f"{key} = {value}" for key, value in settings.items()), ""]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (copy / "pyproject.toml").write_text(project + "\n".join(lines), encoding="utf-8")


def mutmut(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs mutmut in the copy, which alone is to be imported."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
