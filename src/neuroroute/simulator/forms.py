"""The routes that ask a model for text: what each makes of a request, and of the same answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from neuroroute.simulator import chat, completions, responses, responsesanswer, restv0, validation
from neuroroute.simulator.answers import Fail, Refused
from neuroroute.simulator.chat import Completion
from neuroroute.simulator.delivery import Events
from neuroroute.simulator.wordings import ErrorCase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _not_kept(_: Completion) -> None:
    pass


def _as_it_is(case: ErrorCase | Fail) -> ErrorCase | Fail:
    return case


@dataclass(frozen=True, slots=True)
class Form:
    """One of them."""

    ids: str
    """What the ids of its answers begin with."""
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """The request as one to chat: with ``messages``. Raises :class:`Refused`."""
    body: Callable[[Completion], dict[str, Any]]
    """The answer in one body."""
    events: Callable[..., Events]
    """The answer as a stream; a mapping after it stands beside the finish reason."""
    keep: Callable[[Completion], None] = _not_kept
    """Stores what was said, so that a later request may continue it."""
    case: Callable[[ErrorCase | Fail], ErrorCase | Fail] = _as_it_is
    """A failure in the envelope of the route."""


def _read_chat(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if refused := validation.refusal(body):
        raise Refused(refused)
    return body


def responses_form(stored: dict[str, Sequence[dict[str, Any]]]) -> Form:
    """``POST /v1/responses``, which keeps in ``stored`` what was said, by the ids of its responses."""
    return Form(
        "resp_",
        partial(responses.read, stored),
        responsesanswer.body,
        responsesanswer.events,
        partial(responses.keep, stored),
        responses.as_responses,
    )


def _in_v0(form: Form) -> Form:
    """The same route with what v0 adds to its answers. That a stream has it beside the finish reason is a guess."""

    def body(completion: Completion) -> dict[str, Any]:
        return form.body(completion) | restv0.added(completion, form.events(completion))

    def events(completion: Completion) -> Events:
        return form.events(completion, restv0.added(completion, form.events(completion)))

    return replace(form, body=body, events=events)


CHAT = Form("chatcmpl-", _read_chat, chat.body, chat.events)
COMPLETIONS = Form("cmpl-", completions.read, completions.body, completions.events)

OPENAI = {"/v1/chat/completions": CHAT, "/v1/completions": COMPLETIONS}
"""The routes that every version has."""
V0 = {"/api/v0/chat/completions": _in_v0(CHAT), "/api/v0/completions": _in_v0(COMPLETIONS)}
"""Those of the native API v0."""
