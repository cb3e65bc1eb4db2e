"""The engine's own process, run as a script: one JSON line in, one JSON line out, and it ends when its stdin closes.

Nothing of NeuroRoute is imported here, so that the process holds llama.cpp and little else.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import json
import os
import sys
from typing import Any


def serve(settings: dict[str, Any]) -> Any:
    """Starts llama.cpp's server; returns it when it is ready."""
    import xllamacpp as xlc

    p = xlc.CommonParams()
    p.model.path = settings["path"]
    p.model_alias = {settings["model_id"]}
    p.n_ctx = settings["context_length"]
    p.n_parallel = settings["parallel"]
    p.kv_unified = True
    p.cache_ram_mib = 0
    # On all cores, generation collapses to 0.4 tokens/s as soon as somebody else is busy.
    p.cpuparams.n_threads = max(1, settings["cores"] - 1)
    p.cpuparams_batch.n_threads = settings["cores"]
    p.hostnames = ["127.0.0.1"]
    p.port = 0
    p.ui = False
    p.endpoint_slots = False
    p.verbosity = 1
    p.api_keys = settings["api_keys"]
    p.use_jinja = True
    if settings["chat_template"] is not None:
        p.chat_template = settings["chat_template"]
    return xlc.Server(p)


def main() -> None:
    """Serves until stdin closes, which it does however the parent ends."""
    # llama.cpp writes to stdout as it likes: the answer keeps a descriptor of its own.
    answer = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.buffer.readline())
    try:
        server = serve(settings)
    except Exception as error:  # noqa: BLE001 - a bare RuntimeError as a rule; whatever it is, the parent tells it
        json.dump({"error": str(error) or type(error).__name__}, answer)
        answer.close()
        sys.exit(1)
    json.dump({"address": server.listening_address}, answer)
    answer.close()
    while os.read(0, 4096):
        pass
    os._exit(0)  # the server's threads are not waited for


if __name__ == "__main__":
    main()
