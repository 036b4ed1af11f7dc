"""What a process tells of itself while it works: logs and traces. Metrics are in `holdfast.metrics`."""

from holdfast.telemetry.logs import configure_logging

__all__ = ["configure_logging"]
