"""A reply whose end is told, whichever way it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from neuroroute.errors import LMStudioError
from neuroroute.pipe.events import Outcome
from neuroroute.pipe.reply import OuterReply, Reply
from neuroroute.responses import StreamingChunk

Ended: TypeAlias = Callable[[Outcome, "LMStudioError | None"], None]
"""Is told how a reply ended."""


class WatchedReply(OuterReply):
    """A reply, seen as its reader sees it.

    ``when_judged`` would not do: it says nothing of a stream that is left, and of one that was continued only how its
    last part went.
    """

    __slots__ = ("_ended", "_took")

    def __init__(
        self, reply: Reply, ended: Ended, took: Callable[[Sequence[StreamingChunk]], None] | None = None
    ) -> None:
        """Begins.

        Args:
            reply: what is watched.
            ended: is told once how it ended.
            took: is given the chunks as they come.
        """
        super().__init__(reply)
        self._ended: Ended | None = ended
        self._took = took
        if took is not None:
            took(reply.ready)

    async def read(self) -> bool:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        known = len(self.ready)
        try:
            more = await self._reply.read()
        except LMStudioError as error:
            self._end("failed", error)
            raise
        except BaseException:
            self._end("left")
            raise
        if self._took is not None:
            self._took(list(self.ready)[known:])
        if not more:
            self._end("answered")
        return more

    def close(self) -> None:
        """See :class:`~neuroroute.pipe.reply.Reply`."""
        self._reply.close()
        self._end("answered" if self.answer.complete else "left")

    def _end(self, outcome: Outcome, error: LMStudioError | None = None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(outcome, error)
