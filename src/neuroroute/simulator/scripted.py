"""What the simulated server was told to answer."""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

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
    """Answers and failures: one queue that all requests for text share, one for each path, and a script."""

    def __init__(self) -> None:
        self._queue: deque[Answer | Fail] = deque()
        self._of_path: dict[str, deque[Answer | Fail]] = {}
        self._script: Script | None = None
        self._alter: Alter | None = None

    def answer(self, answer: Answer | str = "", *, path: str | None = None, times: int = 1) -> None:
        """Queues an answer for the next request for text that the server has nothing against.

        Args:
            answer: The answer, or its text.
            path: For which path only, as in ``"/v1/embeddings"``; None: for any that asks for text.
            times: For how many requests.
        """
        self._queue_of(path).extend([Answer(answer) if isinstance(answer, str) else answer] * times)

    def fail(self, failure: Fail | ErrorCase | str, *, path: str | None = None, times: int = 1) -> None:
        """Queues a failure for the next request, whatever that asks.

        Args:
            failure: The failure, or a row of the catalogue, or its name.
            path: For which path, as in ``"/api/v1/models"``; None: the one that a row of the catalogue belongs to,
                else any that asks for text, in one queue with their answers.
            times: For how many requests.

        Raises:
            ValueError: The catalogue has no row of that name; names that are like it are given.
        """
        case = catalogue.case_named(failure) if isinstance(failure, str) else failure
        fail = case if isinstance(case, Fail) else Fail.of(case)
        if path is None and not isinstance(case, Fail):
            path = _PATHS.get(case.endpoint)
        self._queue_of(path).extend([fail] * times)

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
        """The failure that is next in the queue of this path, if one is."""
        return _take_failure(self._of_path.get(path))

    def _next_shared_failure(self, path: str) -> Fail | None:
        """The failure that is next in the queue that is shared, if one is and nothing waits for this path alone."""
        return None if self._of_path.get(path) else _take_failure(self._queue)

    async def _next_answer(self, received: Received, echo: str) -> Answer | Fail:
        said = await self._to_answer(received, echo)
        if isinstance(said, str):
            said = Answer(said)
        return self._altered(received, said)

    def _next_of_path(self, received: Received) -> Answer | Fail:
        """What waits for this path alone, else an answer that says nothing."""
        queue = self._of_path.get(received.path)
        return self._altered(received, queue.popleft() if queue else Answer())

    def _altered(self, received: Received, said: Answer | Fail) -> Answer | Fail:
        return said if self._alter is None or isinstance(said, Fail) else self._alter(received, said)

    async def _to_answer(self, received: Received, echo: str) -> Answer | Fail | str:
        """What is next in the queues, else what the script says, else an echo."""
        if queue := self._of_path.get(received.path) or self._queue:
            return queue.popleft()
        if self._script is None:
            return echo
        said = self._script(received)
        return await said if inspect.isawaitable(said) else said

    def _queue_of(self, path: str | None) -> deque[Answer | Fail]:
        return self._queue if path is None else self._of_path.setdefault(path, deque())


def _take_failure(queue: deque[Answer | Fail] | None) -> Fail | None:
    first = queue[0] if queue else None
    if queue is None or not isinstance(first, Fail):
        return None
    queue.popleft()
    return first
