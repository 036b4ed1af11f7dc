"""The console: pages for people who look after jobs, rendered here and alive without a build step."""

from holdfast.server.console.routes import router

__all__ = ["router"]
