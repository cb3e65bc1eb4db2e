from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuroroute import AnyMessage, AssistantMessage, ModelResponse, SystemMessage, TokenUsage, UserMessage
from neuroroute.history import History


def answer(messages: list[AnyMessage], response_id: str | None = None) -> ModelResponse:
    """An answer that came back with this history."""
    return ModelResponse(
        text="", tokens=TokenUsage(), model="m", processing_time=0, messages=messages, response_id=response_id
    )


def talk(turns: int, *, system: bool = True) -> History:
    history = History()
    for number in range(turns):
        asked = UserMessage(content=f"q{number}")
        head: list[AnyMessage] = [SystemMessage(content="Be kind.")] if system and not number else history.sent()
        history = history.followed_by(asked, answer([*head, asked, AssistantMessage(content=f"a{number}")]))
    return history


def texts(history: History) -> list[str]:
    return [message.text for message in history.messages]


def test_a_turn_makes_another_history() -> None:
    """The system message of the first turn becomes part of it, the question and the answer of each; nothing changes."""
    one = talk(1)
    two = talk(2)
    assert texts(one) == ["Be kind.", "q0", "a0"]
    assert texts(two) == ["Be kind.", "q0", "a0", "q1", "a1"]


def test_the_same_question_object_may_come_again() -> None:
    """What belongs to a turn is found by place, not by identity."""
    asked = UserMessage(content="again")
    history = History().followed_by(asked, answer([asked, AssistantMessage(content="a")]))
    history = history.followed_by(asked, answer([*history.sent(), asked, AssistantMessage(content="b")]))
    assert texts(history) == ["again", "a", "again", "b"]


@given(turns=st.integers(1, 6), kept=st.integers(0, 14), undone=st.integers(0, 7))
def test_what_is_sent_is_the_end_of_what_is_known(turns: int, kept: int, undone: int) -> None:
    """However it is narrowed and taken back, system messages and the end are sent, nothing is forgotten."""
    whole = talk(turns)
    history = whole.narrowed(whole.messages[len(whole.messages) - kept :] if kept else [])
    assert history.messages == whole.messages
    for _ in range(undone):
        history, _asked = history.undone()
    sent = history.sent()
    assert sent[0].role == "system"
    assert sent[1:] == list(history.messages[len(history.messages) - len(sent) + 1 :])
    assert texts(history) == texts(whole)[: len(history.messages)]


def test_it_can_be_undone_to_the_beginning() -> None:
    """Taking back gives the questions, the last first, then nothing."""
    history = talk(2)
    asked: list[str] = []
    while (undone := history.undone())[1] is not None:
        history = undone[0]
        assert undone[1] is not None
        asked.append(undone[1].text)
    assert (asked, texts(history)) == (["q1", "q0"], ["Be kind."])


def test_another_system_message_moves_the_window_along() -> None:
    """Instructions come and go without a message of the window being lost or coming twice."""
    history = talk(3)
    narrowed = history.narrowed(history.messages[-2:])
    without = narrowed.instructed(None)
    assert [message.text for message in without.sent()] == ["q2", "a2"]
    again = without.instructed("Be rude.")
    assert [message.text for message in again.sent()] == ["Be rude.", "q2", "a2"]
    assert again.system == "Be rude."
    assert History().instructed("Be rude.") == History()
    assert texts(again.forgotten()) == ["Be rude."]


def test_its_title_is_one_short_line() -> None:
    """The first question, with its whitespace made even, cut where it is long."""
    asked = UserMessage(content="What\n is  it? " + "x" * 80)
    title = History((SystemMessage(content="s"), asked)).title
    assert title.startswith("What is it? xxx")
    assert (len(title), title[-1]) == (60, "…")


def test_only_the_first_system_message_is_the_instruction() -> None:
    """Notes that the system makes later stay where they are, and the window stays where it was."""
    note = SystemMessage(content="note")
    asked, said = UserMessage(content="q"), AssistantMessage(content="a")
    history = History((SystemMessage(content="Be kind."), asked, said, asked, said, note, note), 3)
    changed = history.instructed("Be rude.")
    assert [message.text for message in changed.sent()] == ["Be rude.", "q", "a", "note", "note"]
    assert [message.text for message in changed.instructed(None).sent()] == ["q", "a", "note", "note"]
    assert texts(changed.forgotten()) == ["Be rude."]


def test_back_at_the_window_all_is_sent_again() -> None:
    """Taken back as far as the window, what was left out before may fit again."""
    history = talk(3)
    narrowed = history.narrowed(history.messages[-2:])
    back, asked = narrowed.undone()
    assert asked is not None
    assert texts(back) == [message.text for message in back.sent()] == ["Be kind.", "q0", "a0", "q1", "a1"]


def test_what_the_server_remembers_goes_with_the_history() -> None:
    """An answer with an id is what the next turn goes on from; one without, or taking a turn back, leaves nothing."""
    asked = UserMessage(content="q")
    said = answer([asked, AssistantMessage(content="a")], "resp_1")
    history = History().followed_by(asked, said)
    assert history.previous is said
    assert history.instructed("Be kind.").previous is said
    assert history.narrowed([asked]).previous is said
    assert history.undone()[0].previous is None
    assert history.forgotten().previous is None
    again = [*history.sent(), asked, AssistantMessage(content="b")]
    assert history.followed_by(asked, answer(again)).previous is None
