"""A request made of what a caller gave, for whichever route."""

from __future__ import annotations

from typing import Any

from neuroroute.checks import InputChecks
from neuroroute.errors import ModelInvalidRequestError
from neuroroute.messages import AnyMessage, MessageReader, message_from
from neuroroute.requests import ChatRequest, history, with_system
from neuroroute.responses import Note
from neuroroute.tools.offer import Offer, offered
from neuroroute.wire.adapt import adapted
from neuroroute.wire.encode import encode
from neuroroute.wire.endpoints import ENDPOINTS
from neuroroute.wire.refusals import check_prompt, check_route


def chat_request(
    model: str,
    prompt: str,
    options: dict[str, Any],
    reader: MessageReader,
    *,
    streaming: bool,
    max_bytes: int,
    checks: InputChecks | None = None,
) -> ChatRequest:
    """A request, with its body.

    Raises:
        ModelInvalidRequestError: a message is wrong, nothing is to be sent, the route does not take an option, a text
            is not Unicode (a lone surrogate), the body is over the limit, or a call and an answer of a type were both
            asked for.
    """
    endpoint = ENDPOINTS[options["api"]]
    check_route(options)
    offer = offered(options)
    given, stripped = history(prompt, options, reader), list[Note]()
    if checks is not None:
        given = checks.let_through(given, options["system_message"], stripped)
    messages, notes = adapted(given, merge_roles=options["merge_roles"])
    notes += stripped
    if endpoint.api == "completions":
        check_prompt(messages)
    else:
        with_system(messages, options, reader, notes)
    if (shape := options["response_format"]) is not None:
        notes += shape.notes
        if offer is not None:
            notes.append(_grammar_beside_tools(offer))
        if options["continue_stream"]:
            raise ModelInvalidRequestError(
                "continue_stream and response_format were both given: JSON cannot be gone on with in another answer",
                hint="Leave one of them out.",
            )
    if offer and offer.rewritten:
        notes.append(Note("TOOL_CHOICE_REWRITTEN", offer.rewritten))
    request = ChatRequest(
        endpoint=endpoint,
        model=options["model"] or model,
        messages=messages,
        body=b"",
        streaming=streaming,
        options=options,
        notes=notes,
        offer=offer,
    )
    try:
        request.encode()
    except UnicodeEncodeError as error:
        raise _not_unicode(prompt, options, messages) from error
    check_size(request.body, max_bytes)
    return request


def check_size(body: bytes, max_bytes: int) -> None:
    """Whether a body may be sent.

    Raises:
        ModelInvalidRequestError: it is over the limit.
    """
    if len(body) > max_bytes:
        raise ModelInvalidRequestError(
            f"the request has {len(body)} bytes, more than max_request_bytes={max_bytes}",
            hint="Shorten the history, make images smaller, or raise max_request_bytes.",
        )


def _grammar_beside_tools(offer: Offer) -> Note:
    """LM Studio holds the whole answer to the grammar of a response_format, so that no call fits in.

    Raises:
        ModelInvalidRequestError: a call is asked for.
    """
    if offer.choice == "required":
        raise ModelInvalidRequestError(
            "response_format and a call were both asked for, and no answer can be both",
            hint="Use run_tools, which asks for the typed answer after the calls, or ask for one of them.",
        )
    return Note("TOOLS_BESIDE_FORMAT", "with a response_format the model can hardly call a tool; run_tools does both")


_READ_APART = ("messages", "tools", "functions", "previous", "on_progress")
"""Options that are no plain values; tools were encoded when they were read."""


def _not_unicode(prompt: str, options: dict[str, Any], messages: list[AnyMessage]) -> ModelInvalidRequestError:
    given = list(options["messages"] or ())
    shape = options["response_format"]
    values = {**options, "response_format": None if shape is None else shape.wire}
    places = [("prompt", prompt), *((name, value) for name, value in values.items() if name not in _READ_APART)]
    places += [(f"messages[{index}]", message_from(value)) for index, value in enumerate(given)]
    field = next((name for name, value in places if not _encodes(value)), "a message")
    return ModelInvalidRequestError(
        f"{field} holds a lone surrogate (half of a UTF-16 pair), which is not Unicode text",
        hint="Decode the text properly, or drop it with text.encode('utf-8', 'ignore').decode().",
    )


def _encodes(value: Any) -> bool:
    try:
        encode(value)
    except UnicodeEncodeError:
        return False
    return True
