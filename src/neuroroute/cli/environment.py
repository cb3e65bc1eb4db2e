"""The variables of the environment that the command line looks at, for its help and its page."""

from __future__ import annotations

from typing import Final

VARIABLES: Final = (
    ("LMSTUDIO_URL", "LM Studio's address, several with commas between them, or a TOML file of hosts; --url wins"),
    ("LMSTUDIO_TIMEOUT", "milliseconds that an answer may take to begin, else 60000; --timeout wins"),
    ("LM_API_TOKEN", "LM Studio's API token"),
    ("NEUROROUTE_MODEL_FILE", "a GGUF file for the embedded engine; --model-file wins"),
)
