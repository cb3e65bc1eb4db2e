"""What nobody has established of the real server, as switches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from neuroroute.simulator.answers import Fail


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknowns:
    """One field for each thing that is not known; its default is the guess that we made, and says why.

    A client that is to survive the real server should survive both sides of every switch.
    """

    done_after_error: bool = False
    """Whether ``[DONE]`` follows an error event. No: an error is not done, and a client must not wait for more."""
    bad_json: Fail = field(default_factory=lambda: Fail(400, {"error": "Invalid JSON in the request body"}))
    """What is answered to a body that is no JSON. A 400 with a string, as for other faults of a request's form."""
    queue_seconds: float | None = None
    """After how many seconds in the queue of a model a request is aborted; None: never. It has been seen after very
    long waits only, so not here unless asked for."""
    queue_aborted: Fail = field(default_factory=lambda: Fail(400, {"error": "Request timed out in the queue"}))
    """What such a request is answered. The status is known, the words are ours."""
    headers_before_prefill: bool = True
    """Whether a stream's headers are sent before its prompt is read. Yes: so a failure while reading is an event."""
    leaving_cancels_load: bool = False
    """Whether a load on request is given up once every request that waits for it has left. No: the load is not the
    request's, and others find the model loaded."""
    concurrent_loads_duplicate: bool = False
    """Whether requests that come while their model loads start loads of their own, and so leave duplicates. It has
    been seen (#1751), and cannot be always so; no: they wait for the same load."""
    evict_kills_running: bool = True
    """Whether a model that makes room for another takes its running predictions with it. It has been seen (#1796)."""
    crash_keeps_listing: bool = False
    """Whether the listings go on to show a crashed model as loaded; its requests then get the crash's words again.
    No: the next requests have been seen to get "No models loaded"."""
    embeddings_by_any: bool = False
    """Whether an unknown model that is asked for embeddings is answered by the one embedding model that is loaded, as
    chat is by the one LLM. No: vectors of another model are of no use, and it has not been seen."""
    responses_done: bool = False
    """Whether ``[DONE]`` follows the last event of a stream of ``/v1/responses``. No: OpenAI sends none; but the
    specification of Open Responses, which LM Studio follows from 0.3.39, asks for it."""
    responses_error: Literal["error", "failed", "chat"] = "error"
    """How a stream of ``/v1/responses`` tells of a failure: by OpenAI's event ``error``, by ``response.failed``, or by
    the error event of a chat stream."""
    responses_reasoning_deltas: bool = True
    """Whether reasoning is streamed in ``/v1/responses`` delta by delta. No has been seen (a report of May 2026): all
    of it came with ``response.reasoning_text.done``."""
    prefill_ends_twice: bool = False
    """Whether ``prompt_processing.end`` comes twice in a native stream. It has been seen, and is not always so."""
    native_error_ends: bool = True
    """Whether ``chat.end`` with what was generated follows ``error`` in a native stream. Yes, says the documentation;
    but a stream has been seen to end with neither."""
