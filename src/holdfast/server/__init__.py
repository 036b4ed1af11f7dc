"""The HTTP service: jobs over an API, live streams, and a console; `holdfast serve` runs it."""

from holdfast.server.app import create_api
from holdfast.server.service import Service, ServiceOptions

__all__ = ["Service", "ServiceOptions", "create_api"]
