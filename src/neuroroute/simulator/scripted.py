"""What the simulated server was told to answer."""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from neuroroute.simulator import catalogue
from neuroroute.simulator.answers import Answer, Fail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from neuroroute.simulator.received import Received
    from neuroroute.simulator.wordings import ErrorCase

Script: TypeAlias = "Callable[[Received], Answer | Fail | str | Awaitable[Answer | Fail | str]]"
Alter: TypeAlias = "Callable[[Received, Answer], Answer | Fail]"

_PATHS = {"native": "/api/v1/chat", "responses": "/v1/responses", "embeddings": "/v1/embeddings"}
"""Where the rows of the catalogue belong that are not chat's."""


class Scripted:
    """A queue of answers and failures for chat, failures for other routes, and a script for when the queue is empty."""

    def __init__(self) -> None:
        self._queue: deque[Answer | Fail] = deque()
        self._failing: dict[str, deque[Fail]] = {}
        self._script: Script | None = None
        self._alter: Alter | None = None

    def answer(self, answer: Answer | str = "", *, times: int = 1) -> None:
        """Queues an answer for the next chat request that the server has nothing against.

        Args:
            answer: The answer, or its text.
            times: For how many requests.
        """
        self._queue.extend([Answer(answer) if isinstance(answer, str) else answer] * times)

    def fail(self, failure: Fail | ErrorCase | str, *, path: str | None = None, times: int = 1) -> None:
        """Queues a failure for the next request, whatever that asks.

        Args:
            failure: The failure, or a row of the catalogue, or its name.
            path: For which path, as in ``"/api/v1/models"``; None: the one that a row of the catalogue belongs to,
                else chat, in one queue with its answers.
            times: For how many requests.

        Raises:
            ValueError: The catalogue has no row of that name; names that are like it are given.
        """
        case = catalogue.case_named(failure) if isinstance(failure, str) else failure
        fail = case if isinstance(case, Fail) else Fail.of(case)
        if path is None and not isinstance(case, Fail):
            path = _PATHS.get(case.endpoint)
        queue: deque[Any] = self._queue if path is None else self._failing.setdefault(path, deque())
        queue.extend([fail] * times)

    def script(self, script: Script | None) -> None:
        """Sets a function of the request, sync or async, that is asked whenever the queue is empty.

        Args:
            script: Returns an answer, its text, or a failure; None: back to the default, an echo.
        """
        self._script = script

    def alter(self, alter: Alter | None) -> None:
        """Sets a function of the request and its answer that is asked before an answer is sent.

        Args:
            alter: Returns the answer as it is to be sent, or a failure in its place; None: answers stay as they are.
        """
        self._alter = alter

    def _next_failure(self, path: str) -> Fail | None:
        """The failure that waits for this path."""
        failing = self._failing.get(path)
        return failing.popleft() if failing else None

    def _next_chat_failure(self) -> Fail | None:
        """The failure that is next in the queue, if one is."""
        first = self._queue[0] if self._queue else None
        if not isinstance(first, Fail):
            return None
        self._queue.popleft()
        return first

    async def _next_answer(self, received: Received, echo: str) -> Answer | Fail:
        said = await self._to_answer(received, echo)
        if isinstance(said, str):
            said = Answer(said)
        return said if self._alter is None or isinstance(said, Fail) else self._alter(received, said)

    async def _to_answer(self, received: Received, echo: str) -> Answer | Fail | str:
        """What is next in the queue, else what the script says, else an echo."""
        if self._queue:
            return self._queue.popleft()
        if self._script is None:
            return echo
        said = self._script(received)
        return await said if inspect.isawaitable(said) else said
