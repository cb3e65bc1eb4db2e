"""What can be found, as data: each code, how bad it is, why it matters, what to do, what solutions it stands for."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "hint", "warning", "problem", "skipped"]
"""``problem``: something does not work; ``warning``: it works, and may not tomorrow; ``hint``: it could be better."""

Check: TypeAlias = Literal[
    "server",
    "token",
    "apis",
    "models",
    "completion",
    "stream",
    "tool call",
    "structured output",
    "speed",
    "machine",
    "breaker",
    "tools file",
]

SOLUTIONS: Final[dict[int, str]] = {
    1: "Ensure LM Studio is running with the API server enabled.",
    2: "Check the URL and port configuration.",
    3: "Verify network connectivity between your application and LM Studio.",
    4: "Verify the model is loaded in LM Studio.",
    5: "Check that the model ID in your code matches the one in LM Studio.",
    6: "Try reloading the model in LM Studio.",
    7: "Verify the model supports function calling.",
    8: "Check function definitions for proper formatting.",
    9: "Try simplifying the function definitions.",
    10: "Adjust the system message to explicitly instruct the model to use functions.",
    11: "Wait for the circuit breaker to reset (typically 30 seconds).",
    12: "Check logs to identify the root cause of the failures.",
    13: "Address any underlying issues with LM Studio or the model.",
    14: "Use streaming for long responses.",
    15: "Reduce the context size by limiting conversation history.",
    16: "Use a smaller or more efficient model.",
    17: "Ensure your machine has sufficient resources for the model.",
}
"""The specification's troubleshooting, numbered in its order."""


class Rule(NamedTuple):
    """What a code means, wherever it is found."""

    level: Level
    solutions: tuple[int, ...] = ()
    why: str = ""
    do: str = ""
    """What to do, unless the finding knows better."""


_START = "Start LM Studio's server: its Developer page, or `lms server start`. Without LM Studio: --engine embedded."
_URL = "Give LM Studio's address, as in --url http://localhost:1234/v1, or set LMSTUDIO_URL."
_RELOAD = "Load it again: `lms unload MODEL`, `lms load MODEL`; if it stays so, `lms log stream` tells why."
_LOG = "LM Studio's log tells why: its Developer page, or `lms log stream`."
_TOKEN = "Make a token in LM Studio's server settings, and set LM_API_TOKEN to it."  # noqa: S105 - advice
_NETWORK = "Check the network between here and there: firewall, VPN, a proxy in front."

_SERVER: Final[dict[str, Rule]] = {
    "server-reachable": Rule("ok"),
    "server-not-reachable": Rule("problem", (1,), "Every request fails.", _START),
    "server-on-other-port": Rule("problem", (2, 1), "Requests go to a port where nothing listens.", _URL),
    "server-on-other-address": Rule("problem", (2, 1), "Requests go to an address where nobody answers.", _URL),
    "server-host-unknown": Rule("problem", (2, 3), "No request can be sent.", "Check the name in the address."),
    "server-no-route": Rule("problem", (3,), "Packets are lost on the way, or a firewall drops them.", _NETWORK),
    "server-hangs": Rule(
        "problem", (1, 3, 13), "It accepts connections and does not answer.", f"Restart LM Studio's server. {_LOG}"
    ),
    "connection-lost": Rule("problem", (3, 13), "Answers are lost or arrive in part.", f"{_NETWORK} {_LOG}"),
    "server-error": Rule("problem", (12, 13), "The server itself fails.", _LOG),
    "server-redirects": Rule("problem", (2,), "Redirects are not followed: they could carry a token away."),
    "url-wrong-path": Rule("problem", (2,), "LM Studio answers a wrong path with a 200 that looks like success."),
    "not-an-api": Rule("problem", (2, 1), "Every request fails, or is answered with a page.", _URL),
    "not-lm-studio": Rule("hint", (), "Chat works; loading models and LM Studio's own APIs do not."),
    "tls-on-plain-port": Rule("problem", (2,), "The address says https, the server speaks plain http."),
    "plain-on-tls-port": Rule("problem", (2,), "The address says http, the server speaks https."),
    "tls-untrusted": Rule(
        "problem",
        (2, 3),
        "The server's certificate is not trusted here.",
        "In code, give tls=ssl.create_default_context(cafile=...); or have the certificate trusted.",
    ),
    "localhost-trap": Rule(
        "hint", (2, 3), "NeuroRoute tries all addresses at once; other clients fail, or wait 2 s for each connection."
    ),
    "proxy-catches": Rule(
        "hint", (3,), "NeuroRoute does not use the environment's proxies; curl, httpx, the OpenAI SDK and others do."
    ),
    "network-slow": Rule("hint", (3,), "Each request waits that long before anything else.", _NETWORK),
    "rate-limited": Rule(
        "problem",
        (13,),
        "LM Studio has no rate limit: a proxy in front of it refuses.",
        "Send fewer requests at once, or have its limit raised.",
    ),
    "quota-exceeded": Rule(
        "problem", (13,), "A proxy in front of LM Studio refuses.", "Use another key of that proxy."
    ),
    "token-required": Rule("problem", (2,), "The server answers nobody without a token.", _TOKEN),
    "token-refused": Rule("problem", (2,), "The server does not accept the token that is set.", _TOKEN),
    "token-accepted": Rule("ok"),
    "token-not-needed": Rule(
        "hint",
        (),
        "Anybody who reaches this port can use it.",
        'Require tokens in LM Studio\'s server settings ("Require Authentication"), if others can reach it.',
    ),
    "apis": Rule("ok"),
    "server-old": Rule(
        "hint", (), "It cannot be told to load models, and says less about them.", "Update LM Studio to 0.4 or later."
    ),
}

_MODELS: Final[dict[str, Rule]] = {
    "models-none": Rule(
        "problem", (4,), "There is nobody to ask.", "Download one in LM Studio's Discover page, or with `lms get`."
    ),
    "model-ready": Rule("ok"),
    "model-loaded-now": Rule("ok", (4,)),
    "model-not-loaded": Rule("problem", (4,), "Requests fail until one is loaded."),
    "model-loads-on-request": Rule("hint", (4,), "The first request waits for the load, often for minutes."),
    "model-not-found": Rule("problem", (5,), "LM Studio refuses it, or answers with another model without a word."),
    "model-other-answered": Rule("warning", (5,), "LM Studio takes the loaded model where it does not know the id."),
    "model-cannot-chat": Rule("problem", (5,), "It makes vectors, not answers.", "Name a chat model with --model."),
    "model-loading": Rule("warning", (4,), "Until then requests wait or fail.", "Wait until it is loaded."),
    "model-load-failed": Rule("problem", (6, 12, 13), "Without it no request is answered.", _RELOAD),
    "memory-short": Rule(
        "problem",
        (17, 16),
        "The model does not fit into memory.",
        "Unload other models (`lms unload --all`), or take a smaller model or quantization.",
    ),
    "memory-tight": Rule(
        "hint", (17,), "A model that is swapped to disk answers a hundred times slower.", "Close other programs."
    ),
    "model-unloaded": Rule("problem", (6, 12, 13), "It went away while it was asked.", _RELOAD),
    "model-crashed": Rule("problem", (6, 12, 13), "It answers nothing until it is loaded again.", _RELOAD),
    "engine-failed": Rule("problem", (6, 12, 13), "The model is loaded, its engine does not work.", _RELOAD),
    "context-too-small": Rule(
        "problem", (15,), "The model was loaded with less context than a few sentences take.", ""
    ),
    "context-small": Rule("hint", (15,), "Longer conversations are cut, or refused."),
    "slots-too-many": Rule("hint", (17,), "The others wait in the server, where no deadline counts them."),
    "model-duplicates": Rule("hint", (17,), "Each copy takes the memory of a whole model."),
}

_TRIALS: Final[dict[str, Rule]] = {
    "completion-works": Rule("ok"),
    "completion-retried": Rule(
        "warning", (12, 13), "NeuroRoute tries again by itself; other clients report an error.", _LOG
    ),
    "answer-all-reasoning": Rule(
        "hint",
        (),
        "It thinks before it answers, and short limits end in the middle of that.",
        'Allow more with max_tokens, or ask with reasoning="off".',
    ),
    "no-answer-in-time": Rule(
        "problem",
        (12, 13, 16, 17),
        "It took longer than this check waits; your requests have limits, too.",
        f"Wait longer with --timeout, or take a smaller model. {_LOG}",
    ),
    "answer-malformed": Rule(
        "problem", (2, 13), "What came is no answer.", f"Is there a proxy in front of LM Studio? {_LOG}"
    ),
    "answer-empty": Rule("problem", (6,), "It succeeds and says nothing.", f"Check its prompt template. {_RELOAD}"),
    "request-refused": Rule("problem", (12, 13), "The server takes no requests of this kind.", _LOG),
    "stream-works": Rule("ok"),
    "stream-broken": Rule("problem", (13, 3), "Answers end in the middle.", f"{_LOG} {_NETWORK}"),
    "stream-stalled": Rule(
        "problem", (13,), "Without a limit, a client waits for ever.", f"Load the model again. {_LOG}"
    ),
    "stream-slow": Rule(
        "hint",
        (16, 17),
        "It is alive; requests with a limit on all of the answer may fail.",
        "Wait longer with --timeout, or take a smaller model or quantization.",
    ),
    "stream-without-done": Rule(
        "hint", (3,), "NeuroRoute goes by the finish reason; other clients wait, or report an error.", _NETWORK
    ),
    "stream-without-finish": Rule(
        "hint", (3,), "NeuroRoute goes by [DONE]; other clients cannot tell a whole answer from a part.", _NETWORK
    ),
    "stream-not-streamed": Rule(
        "hint", (14,), "Nothing is shown until all is there.", "A proxy in front holds it back: turn its buffering off."
    ),
    "tools-work": Rule("ok"),
    "tools-not-trained": Rule("hint", (7,), "It calls seldom, or wrongly."),
    "tools-need-telling": Rule(
        "hint",
        (10,),
        "Without being told, this model answers in words.",
        'Say it in the system message: "Use the tools you are given; call get_weather for weather."',
    ),
    "tools-not-called": Rule(
        "hint",
        (7, 10),
        "It answered in words, although it was told to call.",
        "Take a model that is trained for tools, or say in the system message when to call what.",
    ),
    "tools-wrong-call": Rule(
        "warning",
        (7, 9),
        "NeuroRoute tells the model what was wrong; that costs a round each time.",
        "Take a model that is trained for tools; keep definitions few and flat.",
    ),
    "tools-left-as-text": Rule(
        "hint", (7,), "NeuroRoute takes calls out of the text; other clients see none.", "Check its prompt template."
    ),
    "structured-works": Rule("ok"),
    "structured-not-kept": Rule(
        "hint",
        (),
        "Typed answers of this model must be checked, and asked for again.",
        "Use reask=1, simplify the type, or take a model whose engine keeps to schemas (GGUF does).",
    ),
}

_AROUND: Final[dict[str, Rule]] = {
    "speed": Rule("ok"),
    "prompt-slow": Rule(
        "hint",
        (15,),
        "Most of the wait is spent on reading what was sent.",
        'Shorten the history: conversation(trim="oldest"), or max_context_tokens=2048.',
    ),
    "generation-slow": Rule(
        "hint",
        (16, 17),
        "A person reads faster than that.",
        "Take a smaller model or quantization, or move more of it to the GPU (LM Studio: GPU offload).",
    ),
    "streaming-advised": Rule(
        "hint", (14,), "Whole answers show nothing until their end.", "Use adapter.stream() for long answers."
    ),
    "load-slow": Rule(
        "hint",
        (4,),
        "A model that loads on request idles out, and the next request waits again.",
        "Keep it loaded: `lms load MODEL`, or ttl=86400 in requests.",
    ),
    "machine": Rule("ok"),
    "machine-busy": Rule(
        "hint", (17,), "The model shares the processor with other programs.", "See what runs: `top`, or Task Manager."
    ),
    "breaker-closed": Rule("ok"),
    "breaker-would-open": Rule(
        "warning",
        (11, 13),
        "Then requests fail at once with CircuitOpenError, and nothing is sent.",
        "Wait: after 30 s one request tries again. adapter.hosts tells how it is; adapter.breaker.reset() closes it.",
    ),
    "breaker-open": Rule(
        "problem",
        (11,),
        "Nothing is sent there meanwhile.",
        "Wait: after 30 s one request tries again. adapter.breaker.reset() closes it at once.",
    ),
    "root-cause": Rule("hint", (12, 13), "The first failure is mostly what the others follow from.", _LOG),
}

_TOOLS: Final[dict[str, Rule]] = {
    "tools-good": Rule("ok"),
    "tool-malformed": Rule(
        "problem",
        (8,),
        "It cannot be sent, or the server refuses all of the request.",
        'As in {"type": "function", "function": {"name": ..., "description": ..., "parameters": {"type": "object", '
        '"properties": {...}}}}.',
    ),
    "tool-schema-wrong": Rule(
        "problem", (8,), "The model is told rules that nobody can keep.", "Mend the JSON schema at that place."
    ),
    "tool-name-twice": Rule("problem", (8,), "Nobody knows which one is called.", "Rename one."),
    "tool-undescribed": Rule(
        "warning", (8,), "The model can only guess when to call, and with what.", "Describe it in a sentence."
    ),
    "tool-untyped": Rule("warning", (8,), "The model may send anything.", 'Give it a "type", or an "enum".'),
    "tool-too-complex": Rule(
        "warning", (9,), "Small models get nested and numerous arguments wrong.", "Flatten it, or split the tool."
    ),
    "tools-too-many": Rule(
        "warning", (9,), "The more there are, the more often the wrong one is called.", "Offer only what a turn needs."
    ),
    "tools-too-large": Rule(
        "warning",
        (9, 15),
        "They are sent and read again with every request.",
        "Shorten descriptions; offer fewer tools.",
    ),
}

_SKIPPED: Final[dict[str, Rule]] = {"skipped": Rule("skipped")}

RULES: Final[dict[str, Rule]] = _SERVER | _MODELS | _TRIALS | _AROUND | _TOOLS | _SKIPPED
"""Every code. They are stable: programs may branch on them."""
