"""Whether a picture can be drawn, which is asked before anything is measured for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from neuroroute.errors import ConfigurationError

INSTALL = 'pip install "neuroroute[bench]"'
ENDINGS = (".png", ".svg")


def check_picture(path: Path) -> None:
    """Whether a picture can be drawn into this file.

    Raises:
        ConfigurationError: its ending is of no known format, matplotlib is not installed, or it cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ConfigurationError(f"{path} cannot be drawn", hint="Name a file that ends in .png or .svg.")
    if find_spec("matplotlib") is None:
        raise ConfigurationError("a picture needs matplotlib, which this Python does not have", hint=f"{INSTALL}")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigurationError(f"{path} cannot be written: there is no folder {folder}", hint="Make it first.")
    new = not path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigurationError(f"{path} cannot be written: {why}", hint="Name another file.") from error
    if new:
        path.unlink()
