from __future__ import annotations

import copy
import pickle

import pytest

import neuroroute
from neuroroute import (
    AdapterClosedError,
    CircuitOpenError,
    LMStudioError,
    ModelTimeoutError,
    ModelUnavailableError,
    NetworkError,
    errors,
)


def every_kind() -> list[type[LMStudioError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LMStudioError)]


def test_every_error_is_exported_with_a_code_of_its_own() -> None:
    """Programs catch by class or branch on the code; both are public and unambiguous."""
    codes = [kind.code for kind in every_kind() if kind not in (CircuitOpenError, AdapterClosedError)]
    assert len(set(codes)) == len(codes)
    assert CircuitOpenError.code == ModelUnavailableError.code
    assert AdapterClosedError.code == NetworkError.code
    assert all(getattr(neuroroute, kind.__name__) is kind for kind in every_kind())


def test_the_tree_is_drawn_as_it_is() -> None:
    """The picture atop errors.py names every error with its code."""
    drawing = errors.__doc__ or ""
    for kind in every_kind():
        assert kind.__name__ in drawing
        assert kind is LMStudioError or f" {kind.code} " in drawing + " "


def test_the_text_says_what_happened_and_what_to_do() -> None:
    """str() has the code, where it happened, what happened, how often it was tried, and the next step."""
    error = ModelUnavailableError("the model has crashed", model="m", host="h:1", hint="Look.")
    error.attempts = 3
    assert str(error) == "MODEL_UNAVAILABLE (model 'm' at h:1): the model has crashed. Tried 3 times. Look."


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_errors_travel(kind: type[LMStudioError]) -> None:
    """Errors keep all they know when they are copied, or pickled into another process."""
    error = kind("what", hint="do", retry_after_ms=5, status=500, model="m", host="h", details={"a": 1})
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert vars(again) == vars(error)
        assert str(again) == str(error)


def test_errors_are_the_builtin_ones_too() -> None:
    """Code that knows only Python's own errors catches ours."""
    assert issubclass(ModelTimeoutError, TimeoutError)
    assert issubclass(errors.NetworkError, ConnectionError)
    assert issubclass(errors.ModelInvalidRequestError, ValueError)
    assert issubclass(errors.ConfigurationError, ValueError)
