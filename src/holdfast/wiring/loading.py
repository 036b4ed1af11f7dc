"""Which application to run: the one that the settings name, or the built-in one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from holdfast.errors import ConfigError
from holdfast.wiring.app import App
from holdfast.wiring.shop import add_shop

if TYPE_CHECKING:
    from holdfast.settings import Settings


def load_app(settings: Settings) -> App:
    """Return the application that the settings name, or the built-in one.

    Raises:
        ConfigError: `HOLDFAST_APP` cannot be imported or is not an `App`.
    """
    if not settings.app:
        return default_app(settings)
    module_name, _, attribute = settings.app.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute or "app", None)
    except ImportError as error:
        raise ConfigError(
            f"application {settings.app!r} cannot be imported: {error}",
            hint="give HOLDFAST_APP (or --app) as 'module:attribute', importable from here",
        ) from error
    if not isinstance(found, App):
        raise ConfigError(
            f"application {settings.app!r} is a {type(found).__name__}, not a holdfast.App",
            hint="give HOLDFAST_APP (or --app) as 'module:attribute'",
        )
    return found


def default_app(settings: Settings) -> App:
    """Return an application with the built-in products registered.

    Raises:
        ConfigError: The extra `holdfast[reports]` is not installed, the terms of the reports cannot be
            used, or they are to be sold and something for that is not set.
    """
    app = App(settings)
    try:
        from holdfast.apps.reports import register_reports, write_report_sample
    except ImportError as error:
        raise ConfigError(
            f"the reports application cannot be imported: {error}", hint="install 'holdfast[reports]'"
        ) from error
    app.models = register_reports(
        app.registry, work_dir=settings.home / "work", terms_file=settings.reports
    )
    app.offline_writer = write_report_sample
    add_shop(app)
    return app
