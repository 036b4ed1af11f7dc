"""Jobs of a service elsewhere: `holdfast.Client` speaks to it over HTTP."""

from holdfast.remote.client import Client

__all__ = ["Client"]
