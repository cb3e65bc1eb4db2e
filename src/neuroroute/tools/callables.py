"""Which callables can be tools, and what they are called."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from neuroroute.errors import ModelInvalidRequestError


def check_function(function: Any) -> None:
    """Sees that a tool can be made of it.

    Raises:
        ModelInvalidRequestError: it cannot be called, or is a class or a generator.
    """
    if not callable(function):
        raise ModelInvalidRequestError(
            f"a tool is made of a function, not of a value of type {type(function).__name__}",
            hint="With @classmethod or @staticmethod, @tool stands below it.",
        )
    called = without_partials(function)
    if isinstance(called, type):
        raise ModelInvalidRequestError(
            f"{called.__name__} is a class; a tool is made of a function",
            hint="Give a function, or a method of an object.",
        )
    # Decorators are not looked through: one may well make a list of what a generator yields.
    for each in (called, type(called).__call__):
        if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
            raise ModelInvalidRequestError(
                f"{name_of(called)} is a generator; a tool returns its result", hint="Return a list of the values."
            )


def name_of(function: Any) -> str:
    """The name of a function, below partials; of an object, that of its class."""
    function = without_partials(function)
    name: object = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def without_partials(function: Any) -> Any:
    """What partials were made of."""
    while isinstance(function, functools.partial):
        function = function.func
    return function
