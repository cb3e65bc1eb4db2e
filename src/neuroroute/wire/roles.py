"""Roles that alternate, for chat templates that refuse anything else (LM Studio #2218, #2219)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from msgspec.structs import replace

from neuroroute.messages import AnyMessage, AssistantMessage, Content, ContentPart, SystemMessage, TextPart, UserMessage

Turn: TypeAlias = tuple[int, AnyMessage]
"""A message to send, and the index of the one that it was made of."""


def alternate(messages: list[AnyMessage]) -> bool:
    """Whether there is nothing to merge."""
    roles = [message.role for message in messages]
    return "system" not in roles[1:] and not any(one == other != "tool" for one, other in pairwise(roles))


def merged(turns: list[Turn]) -> tuple[list[Turn], list[int]]:
    """One message of all system messages, first; one of each run of user or of assistant messages.

    Texts are parted by a blank line. A name that all have is kept; where names differ, each goes before its text, since
    templates that want roles to alternate show no names.

    Args:
        turns: calls directly before their results. An assistant's text is merged into the call that follows it.

    Returns:
        The turns, and the indices of those that were merged or moved.
    """
    system = [turn for turn in turns if isinstance(turn[1], SystemMessage)]
    groups = [system] if system else []
    for turn in turns:
        if isinstance(turn[1], SystemMessage):
            continue
        if groups and isinstance(turn[1], (UserMessage, AssistantMessage)) and groups[-1][0][1].role == turn[1].role:
            groups[-1].append(turn)
        else:
            groups.append([turn])
    changed = [index for group in groups if len(group) > 1 for index, _ in group]
    if len(system) == 1 and turns[0] is not system[0]:
        changed.insert(0, system[0][0])
    return [(group[0][0], _one([message for _, message in group])) for group in groups], changed


def after(text: str, content: Content) -> Content:
    """The content with a text before it."""
    return text + content if isinstance(content, str) else (TextPart(text=text), *content)


def _one(messages: list[AnyMessage]) -> AnyMessage:
    last = messages[-1]  # only the last of a run can have calls: results would stand behind the others
    if len(messages) == 1:
        return last
    names = {message.name for message in messages}
    if len(names) == 1:
        return replace(last, content=_joined([message.content for message in messages]))
    named = [after(f"{message.name}: " if message.name else "", message.content) for message in messages]
    return replace(last, content=_joined(named), name=None)


def _joined(contents: Sequence[Content]) -> Content:
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join([content for content in contents if isinstance(content, str) and content])
    parts: list[ContentPart] = []
    for content in contents:
        more = content if isinstance(content, tuple) else (TextPart(text=content),) if content else ()
        if parts and more and isinstance(before := parts[-1], TextPart) and isinstance(first := more[0], TextPart):
            parts[-1] = TextPart(text=f"{before.text}\n\n{first.text}")
            more = more[1:]
        parts += more
    return tuple(parts)
