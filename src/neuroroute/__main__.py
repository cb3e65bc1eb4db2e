"""The door: ``python -m neuroroute`` and the script ``neuroroute`` are this."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

NEEDED = ("click", "rich", "prompt_toolkit", "platformdirs")
"""What the extra ``cli`` brings."""


def main() -> None:
    """Runs the command line; without the extra ``cli`` it says in one line how to install it, and exits with 2."""
    _open_what_is_closed()
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.stderr.write(
            f"The command line needs {' and '.join(missing)}, which this Python does not have: "
            'pip install "neuroroute[cli,embedded]"\n'
        )
        sys.exit(2)
    try:
        from neuroroute.cli.program import program

        program(prog_name="neuroroute")
    except KeyboardInterrupt:  # before there is a command that could take it
        sys.exit(130)


def _open_what_is_closed() -> None:
    # After `>&-` Python has None for the stream. In this order each gets the number that is its own.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - for the whole life


if __name__ == "__main__":
    main()
