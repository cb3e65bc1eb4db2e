"""Which place answered a conversation last."""

from __future__ import annotations

from typing import Any

from conftest import FakeClock
from fleet.fleets import Fleet, request
from neuroroute.messages import AssistantMessage, SystemMessage, TextPart, UserMessage
from neuroroute.pipe import affinity as affinity_module
from neuroroute.pipe.affinity import Affinity, beginning


def conversation(*messages: Any, model: str = "m") -> Any:
    made = request(model=model)
    made.messages = [*messages]
    return made


def test_a_conversation_is_known_by_how_it_begins() -> None:
    """All its turns begin alike; another first question, another order or another model is another conversation."""
    order, asked, said = SystemMessage(content="Be brief."), UserMessage(content="Hi"), AssistantMessage(content="Ho")
    known = beginning(conversation(order, asked))
    assert known == beginning(conversation(order, asked, said, UserMessage(content="More")))
    others = [
        conversation(order, UserMessage(content="Ho")),
        conversation(asked),
        conversation(SystemMessage(content="Be long."), asked),
        conversation(order, asked, model="n"),
    ]
    assert known not in map(beginning, others)
    assert isinstance(known, int)  # nothing of what was said is kept


async def test_only_so_many_are_remembered(clock: FakeClock, monkeypatch: Any) -> None:
    """Those that were not asked for longest are forgotten; pictures are not told apart, so they are not remembered."""
    monkeypatch.setattr(affinity_module, "MOST_CONVERSATIONS", 2)

    async def nothing(_: object) -> None:
        """Is never asked."""

    (place,) = (await Fleet({"a": nothing}, clock=clock).listed()).hosts.places("m")
    one, two, three = (conversation(UserMessage(content=text)) for text in ("1", "2", "3"))
    affinity = Affinity()
    for asked in (one, two, one, three):
        affinity.keep(asked, place)
    assert [affinity.place(asked) for asked in (one, two, three)] == [place, None, place]
    in_parts = conversation(UserMessage(content=(TextPart(text="see"),)))
    affinity.keep(in_parts, place)
    assert affinity.place(in_parts) is None
