"""Where the engine's model comes from: the order of sources, in one table."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from neuroroute.engine.wheels import PACKAGED, download, is_complete
from neuroroute.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuroroute.engine.progress import OnProgress, Progress

Source: TypeAlias = Literal["named", "cache", "lmstudio", "wheels"]

VARIABLE: Final = "NEUROROUTE_MODEL_FILE"
_MAGIC = b"GGUF"
_HINT: Final = f"Name a GGUF file of yours: EmbeddedEngine(model_path=...), or set {VARIABLE} to its path."


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model on this machine's disk."""

    path: Path
    source: Source
    """``named`` by you, from NeuroRoute's ``cache``, one of ``lmstudio``'s own, or just fetched as ``wheels``."""

    @property
    def packaged(self) -> bool:
        """Whether it is the model that NeuroRoute brings, whose chat template needs our help."""
        return self.source in {"cache", "wheels"}

    @property
    def model_id(self) -> str:
        """The id to serve it under."""
        return PACKAGED.model_id if self.packaged else self.path.stem.lower()


def model_file(path: str | Path | None = None, on_progress: OnProgress | None = None) -> ModelFile:
    """Finds a model, or downloads one (491 MB, once); blocking.

    Args:
        path: A GGUF file; without it the environment's ``NEUROROUTE_MODEL_FILE``, then the other sources.
        on_progress: Called with the bytes that have come, from this thread; what it raises ends the download.

    Raises:
        ConfigurationError: The named file does not exist, or no source has a model.
    """
    wish = _Wish(path, on_progress or _unheard)
    for source, look in _SOURCES:
        if (found := look(wish)) is not None:
            return ModelFile(found, source)
    raise ConfigurationError("There is no model for the embedded engine", hint=_HINT)


def require_extra(*modules: str) -> None:
    """Says how to install what the engine needs, if it is missing.

    Raises:
        ConfigurationError: One of ``modules`` cannot be imported.
    """
    # Looked for, not imported: llama.cpp belongs in the subprocess alone.
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise ConfigurationError(
            f'The embedded engine needs {" and ".join(missing)}: pip install "neuroroute[embedded]"',
        )


def cache_folder() -> Path:
    """The folder of this user where the downloaded model is kept."""
    require_extra("platformdirs")
    import platformdirs

    return Path(platformdirs.user_cache_dir("neuroroute", appauthor=False))


@dataclass(frozen=True, slots=True)
class _Wish:
    path: str | Path | None
    on_progress: OnProgress


def _unheard(_: Progress) -> None: ...


def _named(wish: _Wish) -> Path | None:
    named, by = (wish.path, "model_path") if wish.path else (os.environ.get(VARIABLE), VARIABLE)
    if not named:
        return None
    path = Path(named).expanduser().absolute()
    if not path.is_file():
        raise ConfigurationError(
            f"{by} names {path}, which is not a file", hint="It should be the path of a GGUF file."
        )
    if not _is_gguf(path):
        raise ConfigurationError(f"{by} names {path}, which is no GGUF file", hint="llama.cpp runs GGUF models only.")
    return path


def _is_gguf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC)) == _MAGIC


def _cached(_: _Wish) -> Path | None:
    file = cache_folder() / PACKAGED.file_name
    return file if is_complete(file, PACKAGED) else None


# A part of a split model; a projector, an embedder or a reranker, which may well call itself "instruct".
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_NOT_FOR_CHAT = re.compile(r"mmproj|embed|rerank|(?:^|[-_.])(?:bge|gte|e5)[-_]")


def _of_lm_studio(_: _Wish) -> Path | None:
    """The smallest instruct model that an installed LM Studio has on disk."""
    files = sorted(Path.home().joinpath(".lmstudio", "models").rglob("*.gguf"))
    return min(filter(_can_chat, files), key=lambda file: file.stat().st_size, default=None)


def _can_chat(file: Path) -> bool:
    name = file.name.lower()
    instruct = "instruct" in name or "instruct" in file.parent.name.lower()
    return instruct and not _PART.search(name) and not _NOT_FOR_CHAT.search(name) and file.is_file()


def _from_wheels(wish: _Wish) -> Path:
    try:
        return download(PACKAGED, cache_folder(), wish.on_progress)
    except (ConfigurationError, OSError) as error:
        why = error.message if isinstance(error, ConfigurationError) else str(error)
        raise ConfigurationError(f"No model is on this machine, and none could be had. {why}", hint=_HINT) from error


_SOURCES: Final[tuple[tuple[Source, Callable[[_Wish], Path | None]], ...]] = (
    ("named", _named),
    ("cache", _cached),
    ("lmstudio", _of_lm_studio),
    ("wheels", _from_wheels),
)
