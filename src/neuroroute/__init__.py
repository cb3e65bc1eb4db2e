"""NeuroRoute: the adapter for LM Studio that makes a local model behave like a dependable service."""

from __future__ import annotations

from neuroroute.adapter import LMStudioAdapter
from neuroroute.errors import LMStudioError

__all__ = ["LMStudioAdapter", "LMStudioError"]
