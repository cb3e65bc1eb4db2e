"""A function of a tool, run so that the event loop goes on."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


async def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What the function gives: an async one awaited, a sync one from a thread.

    Raises:
        BaseException: what the function raised; in place of SystemExit (``sys.exit``, argparse), which would end the
            event loop, a RuntimeError.
    """
    try:
        if is_async(function):
            return await function(**arguments)
        result = await _in_thread(functools.partial(function, **arguments))
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:
        raise RuntimeError(f"exited with {0 if error.code is None else error.code}") from error


def takes(function: Any, count: int) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except ValueError:  # one that is written in C and tells nothing
        return callable(function)
    except TypeError:
        return False
    return True


def is_async(function: Any) -> bool:
    """Whether calling it gives a coroutine; of an object, too, that can be called."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


async def _in_thread(function: Callable[[], Any]) -> Any:
    """Runs it in a thread of its own, with the caller's context variables.

    Not one of the loop's own threads: a function that never ends would hold it, and keep the loop from closing.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.cancelled():  # nobody waits any more
            return
        if error is None:
            done.set_result(result)
        elif isinstance(error, (StopIteration, asyncio.CancelledError, KeyboardInterrupt)):
            # No future takes the first; the second, of a loop that the function ran, would look like our cancellation;
            # the third, which the function raised itself (Python interrupts the main thread only), would end the loop.
            done.set_exception(RuntimeError(f"{type(error).__name__} {error}".strip()))
        else:
            done.set_exception(error)

    def work() -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = context.run(function), None
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            outcome = None, error
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, name=f"tool {function!r:.60}", daemon=True).start()
    return await done
