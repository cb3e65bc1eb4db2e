from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroroute import (
    AnyMessage,
    AssistantMessage,
    FunctionCall,
    FunctionMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from neuroroute.trimming import trimmed, turns_of


def system(text: str = "s") -> SystemMessage:
    return SystemMessage(content=text)


def user(text: str = "u") -> UserMessage:
    return UserMessage(content=text)


def says(text: str = "a") -> AssistantMessage:
    return AssistantMessage(content=text)


def calls(*ids: str) -> AssistantMessage:
    return AssistantMessage(tool_calls=tuple(ToolCall(id=each, function=FunctionCall(name="f")) for each in ids))


def result(of: str) -> ToolMessage:
    return ToolMessage(tool_call_id=of, content="r")


def function_call(name: str) -> AssistantMessage:
    return AssistantMessage(function_call=FunctionCall(name=name))


def function_result(name: str) -> FunctionMessage:
    return FunctionMessage(name=name, content="r")


def one(message: AnyMessage) -> int:
    return 1


def lengths(turns: list[list[AnyMessage]]) -> list[int]:
    return [len(turn) for turn in turns]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([], []),
        ([system(), system()], [2]),
        ([user(), says(), user(), says()], [2, 2]),
        ([system(), user(), says(), user()], [1, 2, 1]),
        ([says(), says(), user()], [2, 1]),  # a history that begins with a greeting
        ([user(), system(), says(), user()], [3, 1]),
        ([user(), user(), says()], [1, 2]),
        ([user(), calls("1", "2"), result("2"), result("1"), says(), user()], [5, 1]),
        ([user(), function_call("f"), function_result("f"), says(), user(), says()], [4, 2]),
    ],
)
def test_turns(messages: list[AnyMessage], turns: list[int]) -> None:
    """A turn goes from a user message to the next; the system messages at the beginning stand for themselves."""
    assert lengths(turns_of(messages)) == turns


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([user(), calls("1"), user(), result("1"), user()], [4, 1]),  # a word in between
        ([user(), calls("1"), user(), user(), result("1"), user()], [5, 1]),  # the turn in the middle goes with both
        ([user(), result("1"), user(), calls("1"), user()], [4, 1]),  # the wrong way round
        ([user(), calls("1"), result("1"), user(), result("1"), user()], [5, 1]),  # a second result
        ([user(), calls("1"), user(), calls("1"), result("1"), result("1"), user()], [6, 1]),  # one for each call
        ([user(), function_call("f"), user(), function_result("f"), user()], [4, 1]),
        ([user(), calls("1"), user(), calls("2"), result("1"), user(), result("2"), user()], [7, 1]),  # a chain
        ([system(), calls("1"), user(), result("1"), user()], [1, 3, 1]),
    ],
)
def test_a_call_and_its_result_are_in_one_turn(messages: list[AnyMessage], turns: list[int]) -> None:
    """Turns that share a call and its result are one, whatever the order."""
    assert lengths(turns_of(messages)) == turns


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([user(), calls("1"), result("1"), user(), calls("1"), result("1"), user()], [3, 3, 1]),
        ([user(), calls(""), result(""), user(), calls(""), result(""), user()], [3, 3, 1]),
        ([user(), function_call("f"), function_result("f"), user(), function_call("f"), function_result("f")], [3, 3]),
        ([user(), calls("1"), user(), calls("1"), result("1"), user()], [2, 3, 1]),  # the first was never answered
        ([user(), calls("f"), user(), function_result("f"), user()], [2, 2, 1]),  # an id is no name
    ],
)
def test_ids_that_come_again_tie_nothing(messages: list[AnyMessage], turns: list[int]) -> None:
    """A result belongs to the latest call of its id, so that equal ids in different turns keep the turns apart."""
    assert lengths(turns_of(messages)) == turns


def test_the_oldest_turns_go() -> None:
    """As few of the oldest turns go as will do; what is told is what was done."""
    history: list[AnyMessage] = [system(), user("1"), says(), user("2"), calls("1"), result("1"), says(), user("3")]
    cut = trimmed(history, budget=6, count=one)
    assert cut.messages == [history[0], *history[3:]]
    assert (cut.dropped, cut.tokens, cut.fits) == (1, 6, True)
    cut = trimmed(history, budget=5, count=one)
    assert cut.messages == [history[0], history[7]]
    assert (cut.dropped, cut.tokens, cut.fits) == (2, 2, True)


def test_what_fits_is_the_same_list() -> None:
    """Where nothing has to go, the very list that was given is given back."""
    history: list[AnyMessage] = [system(), user(), says(), user()]
    cut = trimmed(history, budget=4, count=one)
    assert cut.messages is history
    assert (cut.dropped, cut.tokens, cut.fits) == (0, 4, True)


def test_the_system_message_and_the_last_turn_stay() -> None:
    """What may not go is given even over the budget, and told."""
    history: list[AnyMessage] = [system(), user(), says(), user(), calls("1"), result("1")]
    cut = trimmed(history, budget=3, count=one)
    assert cut.messages == [history[0], *history[3:]]
    assert (cut.dropped, cut.tokens, cut.fits) == (1, 4, False)
    for untouchable in ([], [system()], history[3:]):
        cut = trimmed(untouchable, budget=-1, count=one)
        assert cut.messages is untouchable
        assert (cut.dropped, cut.tokens, cut.fits) == (0, len(untouchable), False)


def test_system_messages_in_the_middle_stay() -> None:
    """A system message of a turn that goes stays where it is."""
    history: list[AnyMessage] = [system("1"), user(), says(), system("2"), user(), system("3"), says(), user()]
    cut = trimmed(history, budget=4, count=one)
    assert cut.messages == [system("1"), system("2"), system("3"), history[-1]]
    assert (cut.dropped, cut.tokens, cut.fits) == (2, 4, True)


def test_each_message_is_counted_once() -> None:
    """Counting may be dear: however much goes, it is asked once for each message."""
    counted: list[AnyMessage] = []

    def count(message: AnyMessage) -> int:
        counted.append(message)
        return 1

    trimmed([system(), *[user(), says()] * 50], budget=10, count=count)
    assert len(counted) == 101


MESSAGES = st.one_of(
    st.just(system()),
    st.just(user()),
    st.just(user()),
    st.just(says()),
    st.lists(st.sampled_from("123"), min_size=1, max_size=2).map(lambda ids: calls(*ids)),
    st.sampled_from("123").map(result),
    st.sampled_from("fg").map(function_call),
    st.sampled_from("fg").map(function_result),
)


@st.composite
def histories(draw: st.DrawFn) -> list[AnyMessage]:
    """Any history, however ill-formed; no two of its messages are the same object or equal."""
    drawn = draw(st.lists(MESSAGES, max_size=25))
    return [type(message)(**{**fields(message), "content": str(index)}) for index, message in enumerate(drawn)]


def fields(message: AnyMessage) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


BUDGETS = st.integers(-1, 120)


def cost(message: AnyMessage) -> int:
    """From 0 to 6, a different one for each message."""
    return int(message.text) * 5 % 7


def keys(message: AnyMessage, *, of_calls: bool) -> set[str]:
    if isinstance(message, AssistantMessage) and of_calls:
        called = {message.function_call.name} if message.function_call else set[str]()
        return {call.id for call in message.tool_calls} | called
    if isinstance(message, ToolMessage) and not of_calls:
        return {message.tool_call_id}
    return {message.name or ""} if isinstance(message, FunctionMessage) and not of_calls else set()


@given(histories())
def test_turns_are_the_history(history: list[AnyMessage]) -> None:
    """The turns one after another are the history; the system messages that it begins with are the first."""
    turns = turns_of(history)
    assert [message for turn in turns for message in turn] == history
    head = [*takewhile(lambda message: message.role == "system", history)]
    assert turns[:1] == [head] if head else True
    assert all(any(message.role != "system" for message in turn) for turn in turns[bool(head) :])


@given(histories(), BUDGETS)
def test_no_pair_is_parted(history: list[AnyMessage], budget: int) -> None:
    """A result that had a call still has one, and a call whose only possible result is kept is kept."""
    kept = trimmed(history, budget=budget, count=cost).messages
    places = [history.index(message) for message in kept]
    for place in places:
        for key in keys(history[place], of_calls=False):
            had = [i for i, message in enumerate(history) if key in keys(message, of_calls=True)]
            assert not had or {*had} & {*places}
    for key in {key for message in history for key in keys(message, of_calls=True)}:
        a_call = [i for i, message in enumerate(history) if key in keys(message, of_calls=True)]
        a_result = [i for i, message in enumerate(history) if key in keys(message, of_calls=False)]
        if len(a_call) == len(a_result) == 1:
            assert ({*a_call} <= {*places}) == ({*a_result} <= {*places})


@given(histories(), BUDGETS)
def test_what_is_left(history: list[AnyMessage], budget: int) -> None:
    """What is left is the system messages and the latest turns whole, the last among them; the history is untouched."""
    before = [*history]
    cut = trimmed(history, budget=budget, count=cost)
    assert history == before
    turns = turns_of(history)
    head = turns[:1] if history and history[0].role == "system" else []
    gone = turns[len(head) : len(head) + cut.dropped]
    left = turns[len(head) + cut.dropped :]
    systems = [message for turn in head + gone for message in turn if message.role == "system"]
    assert cut.messages == systems + [message for turn in left for message in turn]
    assert left or not gone
    assert cut.tokens == sum(map(cost, cut.messages))
    assert cut.fits == (cut.tokens <= budget)
    assert (cut.messages is history) == (cut.dropped == 0)


@given(histories(), BUDGETS)
def test_no_more_goes_than_must(history: list[AnyMessage], budget: int) -> None:
    """With one turn more it would not fit; and if it does not fit, only the last turn is left to go."""
    cut = trimmed(history, budget=budget, count=cost)
    turns = [turn for turn in turns_of(history) if any(message.role != "system" for message in turn)]
    if cut.dropped:
        last_dropped = [message for message in turns[cut.dropped - 1] if message.role != "system"]
        assert cut.tokens + sum(map(cost, last_dropped)) > budget
    if not cut.fits:
        assert cut.dropped == max(0, len(turns) - 1)


@given(histories(), BUDGETS)
def test_trimming_again_changes_nothing(history: list[AnyMessage], budget: int) -> None:
    """What was trimmed to a budget is not trimmed by the same budget again."""
    cut = trimmed(history, budget=budget, count=cost)
    again = trimmed(cut.messages, budget=budget, count=cost)
    assert again.messages is cut.messages
    assert (again.dropped, again.tokens, again.fits) == (0, cut.tokens, cut.fits)


def test_a_long_history() -> None:
    """A history is gone through once, however many turns go or are one: a hundred thousand messages take no minute."""
    assert trimmed([user(), says()] * 50_000, budget=2, count=one).dropped == 49_999
    assert len(turns_of([user(), *[calls("1"), user(), result("1")] * 30_000])) == 1
