"""The composition root: settings and registrations become a running application."""

from holdfast.wiring.app import App
from holdfast.wiring.llm import open_llm
from holdfast.wiring.loading import default_app, load_app
from holdfast.wiring.opening import keyring_of
from holdfast.wiring.running import run_async

__all__ = ["App", "default_app", "keyring_of", "load_app", "open_llm", "run_async"]
