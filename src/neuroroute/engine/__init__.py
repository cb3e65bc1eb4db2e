"""The embedded engine: a real llama.cpp with a small real model, for a machine without LM Studio.

It stands beside the house (extra ``embedded``): an OpenAI-compatible server in a subprocess, which the adapter, the
examples and the tests can be pointed at.
"""

from neuroroute.engine.models import ModelFile, model_file
from neuroroute.engine.progress import Progress
from neuroroute.engine.server import EmbeddedEngine

__all__ = ["EmbeddedEngine", "ModelFile", "Progress", "model_file"]
