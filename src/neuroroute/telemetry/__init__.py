"""Observers to hand to an adapter: logging here, OpenTelemetry and Prometheus in modules that need their extras."""

from neuroroute.telemetry.logs import JSONFormatter, LoggingObserver

__all__ = ["JSONFormatter", "LoggingObserver"]
