"""Whether a model calls tools as it should: a few questions, each with the tool that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from neuroroute.errors import ToolArgumentsError
from neuroroute.tools.functions import tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuroroute.responses import ModelResponse
    from neuroroute.tools.functions import Tool

Verdict: TypeAlias = Literal["valid", "no_call", "unknown_tool", "bad_arguments", "other_tool"]


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> None:
    """The weather of a city, now.

    Args:
        city: its name, such as Paris.
        unit: of the temperature.
    """


@tool
def get_time(city: str) -> None:
    """What time it is in a city.

    Args:
        city: its name, such as Paris.
    """


@tool
def set_thermostat(room: str, degrees: float) -> None:
    """Sets the temperature of a room.

    Args:
        room: its name, such as kitchen.
        degrees: in celsius.
    """


@tool
def switch_light(room: str, state: Literal["on", "off"]) -> None:
    """Switches the light of a room.

    Args:
        room: its name, such as kitchen.
        state: what it is to be.
    """


@tool
def book_table(name: str, people: int, date: str, time: str) -> None:
    """Books a table in the restaurant.

    Args:
        name: who comes.
        people: how many they are.
        date: as 2026-12-31.
        time: as 18:00.
    """


@tool
def send_mail(recipients: list[str], text: str) -> None:
    """Sends a mail.

    Args:
        recipients: the addresses.
        text: what is written.
    """


class Case(NamedTuple):
    """A question, and the tool that it asks for."""

    question: str
    expected: Tool[..., Any]
    others: tuple[Tool[..., Any], ...]

    @property
    def offered(self) -> list[Tool[..., Any]]:
        """All tools that the model may call, by name."""
        return sorted((self.expected, *self.others), key=lambda one: one.name)


CASES = (
    Case("What is the weather in Lisbon right now?", get_weather, (get_time,)),
    Case("What time is it in Tokyo?", get_time, (get_weather,)),
    Case("Set the thermostat in the living room to 21.5 degrees.", set_thermostat, (switch_light,)),
    Case("Turn off the light in the kitchen.", switch_light, (set_thermostat,)),
    Case("Book a table for four people on 2026-12-24 at 19:30. My name is Ada.", book_table, (send_mail,)),
    Case("Mail ada@example.com and bob@example.com that the meeting begins at noon.", send_mail, (book_table,)),
)


def judged(case: Case, response: ModelResponse) -> Verdict:
    """How a model's answer to a case is; where it made several calls, all must be good."""
    offered = {one.name: one for one in case.offered}
    calls = [call.function for call in response.tool_calls]
    if not calls:
        return "no_call"
    if any(call.name not in offered for call in calls):
        return "unknown_tool"
    if not all(_takes(offered[call.name], call.arguments) for call in calls):
        return "bad_arguments"
    return "valid" if case.expected.name in {call.name for call in calls} else "other_tool"


def mended(response: ModelResponse) -> bool:
    """Whether the calls had to be put right: left in the text, or with broken arguments."""
    return any(note.code in ("CALLS_SALVAGED", "ARGUMENTS_REPAIRED") for note in response.notes)


def cases_of(round_number: int, rounds: int) -> Sequence[Case]:
    """The cases that have their turn in a round: each has one in the whole run."""
    return CASES[round_number::rounds]


def _takes(one: Tool[..., Any], arguments: str) -> bool:
    try:
        one.check(arguments)
    except ToolArgumentsError:
        return False
    return True
