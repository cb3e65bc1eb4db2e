"""Which place answered a conversation last: it has the beginning in its cache, and need not read it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from neuroroute.messages import AnyMessage, SystemMessage
from neuroroute.requests import ChatRequest

if TYPE_CHECKING:
    from neuroroute.pipe.hostedmodel import HostedModel

MOST_CONVERSATIONS = 4096
"""That are remembered; those that were not asked for longest are forgotten."""


class Affinity:
    """The place of each conversation; conversations are told apart by how they begin."""

    def __init__(self) -> None:
        self._places: OrderedDict[Hashable, HostedModel] = OrderedDict()

    def place(self, request: ChatRequest) -> HostedModel | None:
        """Who answered it last."""
        return self._places.get(beginning(request))

    def keep(self, request: ChatRequest, place: HostedModel) -> None:
        """It was answered there."""
        key = beginning(request)
        if key is None:
            return
        self._places[key] = place
        self._places.move_to_end(key)
        if len(self._places) > MOST_CONVERSATIONS:
            self._places.popitem(last=False)


def beginning(request: ChatRequest) -> Hashable:
    """What every turn of a conversation has in common: its model, and its texts up to the first that is no order.

    A number, so that nothing of a conversation is kept.
    """
    first: AnyMessage | None = None
    texts: list[str] = [request.model]
    for first in request.messages:
        if not isinstance(first.content, str):
            return None
        texts.append(first.content)
        if type(first) is not SystemMessage:
            break
    return hash(tuple(texts))
