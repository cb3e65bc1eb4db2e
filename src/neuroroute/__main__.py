"""The door: ``python -m neuroroute`` and the script ``neuroroute`` are this."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("click", "rich", "prompt_toolkit", "platformdirs")
"""What the extra ``cli`` brings."""


def main() -> None:
    """Runs the command line; without the extra ``cli`` it says in one line how to install it, and exits with 2."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.stderr.write(
            f"The command line needs {' and '.join(missing)}, which this Python does not have: "
            'pip install "neuroroute[cli,embedded]"\n'
        )
        sys.exit(2)
    from neuroroute.cli.program import program

    program(prog_name="neuroroute")


if __name__ == "__main__":
    main()
