"""NeuroRoute: the adapter for LM Studio that makes a local model behave like a dependable service."""
